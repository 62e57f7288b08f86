"""Every subject, stream, consumer and bucket there is; whoever publishes or reads names it here.

The first version of Aristobot lost messages in silence because a sender and a reader disagreed on
a channel. Here a subject that is not declared cannot be built, and `platform.bus` refuses to
publish durable work that no stream takes. Deliberately not here: connecting and creating.

`<owner>` and `<broker>` are DNS-1123 labels, so they are always exactly one subject token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured

DAY_SECONDS = 86_400.0

#: Stands for the broker of a webhook whose `UserExchangeID` names none that exists. An underscore
#: can't be part of a broker's name.
UNROUTED = "_unrouted"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Retention(StrEnum):
    LIMITS = "limits"
    WORK_QUEUE = "workqueue"


@dataclass(frozen=True, slots=True)
class Stream:
    """One JetStream stream. `duplicate_window_seconds`: how long `Nats-Msg-Id` is remembered."""

    name: str
    subjects: tuple[str, ...]
    retention: Retention
    max_age_seconds: float
    duplicate_window_seconds: float


WEBHOOKS = Stream(
    name="WEBHOOKS",
    subjects=("webhooks.received.*.*",),
    retention=Retention.LIMITS,
    max_age_seconds=30 * DAY_SECONDS,
    # TradingView re-sends within seconds. A body without a bar time may rightly come again a
    # minute-candle later, so the window is not longer; with one, the signal key takes over.
    duplicate_window_seconds=120.0,
)
ORDERS = Stream(
    name="ORDERS",
    subjects=("orders.commands.*.*",),
    retention=Retention.WORK_QUEUE,
    max_age_seconds=0.0,
    duplicate_window_seconds=120.0,
)
ORDER_EVENTS = Stream(
    name="ORDER_EVENTS",
    subjects=("orders.events.*.*",),
    retention=Retention.LIMITS,
    max_age_seconds=30 * DAY_SECONDS,
    duplicate_window_seconds=120.0,
)
CANDLES = Stream(
    name="CANDLES",
    subjects=("candles.closed.*.*.*",),
    retention=Retention.LIMITS,
    max_age_seconds=7 * DAY_SECONDS,
    # Both heartbeats publish every candle, and one that comes back publishes what it missed: a day
    # covers any of it, at some 25,000 ids for ten symbols.
    duplicate_window_seconds=DAY_SECONDS,
)
DECISIONS = Stream(
    name="DECISIONS",
    subjects=("strategies.decided.*.*.*",),
    retention=Retention.LIMITS,
    max_age_seconds=30 * DAY_SECONDS,
    duplicate_window_seconds=120.0,
)
STREAMS = (WEBHOOKS, CANDLES, DECISIONS, ORDERS, ORDER_EVENTS)

#: sha256 of a webhook token -> `TokenRecord`. Written by whoever executes the resources.
TOKENS_BUCKET = "webhook_tokens"
#: `<owner>.<broker>` -> `BrokerRecord`. Written by whoever executes the resources.
BROKERS_BUCKET = "brokers"
#: `<owner>.<active strategy>` -> `ActiveStrategyRecord`. Written by whoever executes resources.
STRATEGIES_BUCKET = "active_strategies"
#: `<owner>.<active strategy>` -> `StrategyStatus`. Written by the runner, read by the executor,
#: which also removes what a runner leaves behind.
STRATEGY_STATUS_BUCKET = "strategy_status"
BUCKETS = (TOKENS_BUCKET, BROKERS_BUCKET, STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET)

ENGINE_EVENTS_CONSUMER = "engine_events"
#: Every broker's `engine_query_subject`.
ENGINE_QUERIES = "engine.query.*.*"
#: Every broker's `holdings_query_subject`.
HOLDINGS_QUERIES = "engine.holdings.*.*"


@dataclass(frozen=True, slots=True, order=True)
class BrokerKey:
    """A broker account: its owner (user or namespace) and its resource name."""

    owner: str
    broker: str

    def __post_init__(self) -> None:
        for part in (self.owner, self.broker):
            if not (_LABEL.fullmatch(part) or part == UNROUTED):
                raise Misconfigured(
                    f"{part!r} is not a valid name: use at most 63 lower-case letters, digits "
                    "and '-', beginning and ending with a letter or digit"
                )

    def __str__(self) -> str:
        return f"{self.owner}.{self.broker}"

    @classmethod
    def parse(cls, text: str) -> BrokerKey:
        """Read `<owner>.<broker>`, the form of KV keys and subjects."""
        owner, _, broker = text.partition(".")
        return cls(owner, broker)


def webhook_subject(key: BrokerKey) -> str:
    return f"webhooks.received.{key}"


def command_subject(key: BrokerKey) -> str:
    return f"orders.commands.{key}"


def event_subject(key: BrokerKey) -> str:
    return f"orders.events.{key}"


def query_subject(key: BrokerKey) -> str:
    """Core NATS request/reply, served by the broker's gateway."""
    return f"gateway.query.{key}"


def candle_subject(market: str, symbol: str, timeframe: Timeframe) -> str:
    """`market` is `contracts.markets.market_id`; symbols are letters and digits."""
    return f"candles.closed.{market}.{symbol}.{timeframe}"


def raw_market_subject(market: str, symbol: str) -> str:
    """Core NATS: every trade as it comes, for whoever looks; nothing is kept."""
    return f"market.raw.{market}.{symbol}"


def decision_subject(key: BrokerKey, active_strategy: str) -> str:
    return f"strategies.decided.{key}.{active_strategy}"


def decisions_subject(key: BrokerKey) -> str:
    """All decisions for one broker, whichever strategy made them."""
    return f"strategies.decided.{key}.*"


def engine_query_subject(key: BrokerKey) -> str:
    """Core NATS request/reply, served by the engine: what a strategy may know of its account."""
    return f"engine.query.{key}"


def holdings_query_subject(key: BrokerKey) -> str:
    """Core NATS request/reply, served by the engine: what all holders of a broker have.

    Apart from `engine_query_subject`, which a strategy's runner may ask on.
    """
    return f"engine.holdings.{key}"


def broker_of(subject: str) -> BrokerKey:
    """The broker named by the last two tokens of a webhook, command, event or query subject."""
    return BrokerKey(*subject.split(".")[-2:])


def engine_consumer(key: BrokerKey) -> str:
    """Durable consumer of one broker's webhooks: one message in flight, so in order.

    Joined by `_`, which no name holds: with `-`, owner `a-b` and broker `c` would meet `a`, `b-c`.
    """
    return f"engine_{key.owner}_{key.broker}"


def decisions_consumer(key: BrokerKey) -> str:
    """The engine's durable consumer of one broker's decisions: one message in flight."""
    return f"decisions_{key.owner}_{key.broker}"


#: What the names of all runners' consumers begin with.
RUNNER_CONSUMERS = "runner_"


def runner_consumer(owner: str, active_strategy: str) -> str:
    """The runner's durable consumer of one active strategy's candles."""
    return f"{RUNNER_CONSUMERS}{owner}_{active_strategy}"


def gateway_consumer(key: BrokerKey) -> str:
    """Durable consumer of one broker's commands: one message in flight, so in order."""
    return f"gateway_{key.owner}_{key.broker}"
