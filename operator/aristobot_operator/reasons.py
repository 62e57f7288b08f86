"""Every word that stands in a condition or an Event, once: what tools may match on.

`docs/resources.md` lists them for users; a test compares. The texts beside them are for people and
may change. Reasons of the runner (a strategy's own trouble) are passed on as they are.
"""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """A condition's type. `True` is good, but for `Paused`."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    CREDENTIALS_RESOLVED = "CredentialsResolved"
    BROKER_RESOLVED = "BrokerResolved"
    DEPLOYED = "Deployed"
    MARKET_DATA_FRESH = "MarketDataFresh"
    PAUSED = "Paused"


class Reason(StrEnum):
    """Why a condition is as it is."""

    # Accepted
    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    STRATEGY_NOT_FOUND = "StrategyNotFound"
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    NO_TIMEFRAME = "NoTimeframe"
    NO_CODE = "NoCode"
    CODE_TOO_LONG = "CodeTooLong"
    DUPLICATE_NUMBER = "DuplicateNumber"
    # CredentialsResolved
    CREDENTIALS_FOUND = "CredentialsFound"
    CREDENTIALS_MISSING = "CredentialsMissing"
    NO_SIMULATOR = "NoSimulator"
    SIMULATOR_AWAY = "SimulatorAway"
    # BrokerResolved
    BROKER_FOUND = "BrokerFound"
    BROKER_NOT_FOUND = "BrokerNotFound"
    BROKER_NOT_READY = "BrokerNotReady"
    TRADING_MODE = "TradingMode"
    # Deployed
    DEPLOYED = "Deployed"
    DEPLOYING = "Deploying"
    SCALED_TO_ZERO = "ScaledToZero"
    NAME_TAKEN = "NameTaken"
    POD_FAILING = "PodFailing"
    DENIED = "Denied"
    PLATFORM_NOT_READY = "PlatformNotReady"
    # MarketDataFresh
    FRESH = "Fresh"
    STALE = "Stale"
    NO_HEARTBEAT = "NoHeartbeat"
    NOT_RUNNING = "NotRunning"
    # Paused
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    STOPPED = "Stopped"
    BEFORE_START = "BeforeStart"
    AFTER_END = "AfterEnd"
    RECONCILE_DISABLED = "ReconcileDisabled"
    # Ready
    READY = "Ready"
    STARTING = "Starting"
    WINDING_DOWN = "WindingDown"
    IN_USE = "InUse"
    TERMINATING = "Terminating"


class EventReason(StrEnum):
    """Why an Event was written about a resource."""

    READY = "Ready"
    NOT_READY = "NotReady"
    DRIFT_REPAIRED = "DriftRepaired"
    WOUND_DOWN = "WoundDown"
