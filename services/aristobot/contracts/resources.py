"""The resources a user applies, as models: the same YAML for `aristobot apply` and `kubectl`.

One pydantic model per kind, field names as in the YAML. `parse_document` turns a YAML document
into one of them or names the path of the wrong field. Kubernetes' `Secret` is understood as far
as credentials need it, so that the same files work in both places. Not here: storing
(`platform.resource_store`) and turning them into processes (`contracts.workload`).
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured

GROUP_VERSION: Final = "trading.aristobot.io/v1alpha1"
DEFAULT_OWNER = "demo"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def _dns_label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError(
            "must be at most 63 lower-case letters, digits or '-', and begin and end with a "
            "letter or digit"
        )
    return value


def _amount_text(value: Any) -> Any:
    # YAML reads 0.1 as a binary float; its shortest text is what the user wrote.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return str(value) if isinstance(value, int | float) else value


def _decoded(value: str) -> str:
    return base64.b64decode(value, validate=True).decode()


def _base64_text(value: str) -> str:
    try:
        _decoded(value)
    except ValueError:  # base64's error and Unicode's are both of this kind
        raise ValueError("is not base64 of UTF-8 text") from None
    return value


def _quoted_off(value: Any) -> Any:
    if value is False:
        raise ValueError('write "off" in quotation marks: without them YAML reads it as false')
    return value


Name = Annotated[str, AfterValidator(_dns_label)]
PositiveAmount = Annotated[
    Decimal, BeforeValidator(_amount_text), Field(gt=0, max_digits=30, allow_inf_nan=False)
]


class Exchange(StrEnum):
    BINANCE = "binance"


class Environment(StrEnum):
    """Where the broker trades. `simulator` is the platform's own exchange, with play money."""

    LIVE = "live"
    TESTNET = "testnet"
    SIMULATOR = "simulator"


class TradingMode(StrEnum):
    """What may place orders. In `off` and `strategy`, webhooks are recorded and nothing more."""

    OFF = "off"
    STRATEGY = "strategy"
    WEBHOOK = "webhook"


class _Spec(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class SecretRef(_Spec):
    """Names a Secret of the same owner; for a broker it holds `apiKey` and `apiSecret`."""

    name: Name


class RiskLimits(_Spec):
    """`maxOrderNotional`: an order worth more, in quote currency, is refused."""

    max_order_notional: PositiveAmount | None = None


class WebhookPolicy(_Spec):
    """How alerts are judged.

    `allowRepeatedSignals`: the same bar's signal may act more than once.
    `maxSignalAgeSeconds`: an alert whose bar closed longer ago is recorded and not traded, and so
    is one that couldn't be processed in time; 0 switches this off.
    """

    allow_repeated_signals: bool = False
    max_signal_age_seconds: int = Field(default=300, ge=0, le=86_400)


class SimulatedAccount(_Spec):
    """What a new simulated account holds, by asset."""

    balances: dict[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")], PositiveAmount] = Field(
        default_factory=lambda: {"USDT": Decimal(10_000)}
    )


class BrokerSpec(_Spec):
    """One account on one exchange. `number` is what a `UserExchangeID` may name it by."""

    exchange: Exchange
    environment: Environment = Environment.LIVE
    trading_mode: Annotated[TradingMode, BeforeValidator(_quoted_off)] = TradingMode.OFF
    number: int | None = Field(default=None, ge=1, le=1_000_000)
    credentials_secret_ref: SecretRef | None = None
    webhook: WebhookPolicy = WebhookPolicy()
    risk: RiskLimits = RiskLimits()
    simulator: SimulatedAccount | None = None

    @model_validator(mode="after")
    def _needs_what_its_environment_needs(self) -> BrokerSpec:
        if self.environment is Environment.SIMULATOR:
            return self
        if self.credentials_secret_ref is None:
            raise ValueError(
                f"credentialsSecretRef is required when environment is {self.environment.value}: "
                "apply a Secret with apiKey and apiSecret and name it here"
            )
        if self.simulator is not None:
            raise ValueError("simulator is only allowed when environment is simulator")
        return self


class Metadata(_Spec):
    name: Name
    namespace: Name | None = None


class Broker(_Spec):
    api_version: Literal["trading.aristobot.io/v1alpha1"] = GROUP_VERSION
    kind: Literal["Broker"] = "Broker"
    metadata: Metadata
    spec: BrokerSpec


class SecretDocument(_Spec):
    """Kubernetes' `v1` Secret: `stringData` in the clear, or `data` in base64."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Secret"] = "Secret"
    metadata: Metadata
    type: str = "Opaque"
    string_data: dict[str, str] = Field(default_factory=dict)
    data: dict[str, Annotated[str, AfterValidator(_base64_text)]] = Field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """The secret's entries in the clear; `stringData` wins, as in Kubernetes."""
        return {**{key: _decoded(value) for key, value in self.data.items()}, **self.string_data}


class ConfigMapKeyRef(_Spec):
    """One entry of a ConfigMap of the same namespace."""

    name: Name
    key: str = Field(default="strategy.py", min_length=1, max_length=253)


class StrategySpec(_Spec):
    """Python code with one class deriving from `Strategy`, here or (on Kubernetes) in a ConfigMap.

    `timeframe`: what an ActiveStrategy that names none runs on.
    """

    code: str | None = Field(default=None, min_length=1, max_length=262_144)
    code_config_map_ref: ConfigMapKeyRef | None = None
    timeframe: Timeframe | None = None

    @model_validator(mode="after")
    def _has_its_code_once(self) -> StrategySpec:
        if (self.code is None) == (self.code_config_map_ref is None):
            raise ValueError("exactly one of code and codeConfigMapRef is needed")
        return self


class Strategy(_Spec):
    api_version: Literal["trading.aristobot.io/v1alpha1"] = GROUP_VERSION
    kind: Literal["Strategy"] = "Strategy"
    metadata: Metadata
    spec: StrategySpec


class ResourceRef(_Spec):
    """Names another resource of the same owner."""

    name: Name


class ActiveStrategySpec(_Spec):
    """A strategy at work: whose code, on which account, symbol and timeframe, and when.

    `start`, `end`: UTC moments between which candles are acted on; None leaves that side open.
    `active` false: stopped for good; `paused`: suspended, to be resumed. `historyCandles`: how
    many candles the strategy sees at most. `maxSignalAgeSeconds`: a candle that arrives later than
    this is not traded on. Limits are of the strategy's own process.
    """

    strategy_ref: ResourceRef
    broker_ref: ResourceRef
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$")]
    timeframe: Timeframe | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    active: bool = True
    paused: bool = False
    history_candles: int = Field(default=200, ge=1, le=1000)
    max_signal_age_seconds: int = Field(default=60, ge=1, le=86_400)
    memory_mebibytes: int = Field(default=256, ge=64, le=4096)
    decision_seconds: float = Field(default=5.0, ge=0.1, le=60.0)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> ActiveStrategySpec:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        return self


class ActiveStrategy(_Spec):
    api_version: Literal["trading.aristobot.io/v1alpha1"] = GROUP_VERSION
    kind: Literal["ActiveStrategy"] = "ActiveStrategy"
    metadata: Metadata
    spec: ActiveStrategySpec


Document = Broker | Strategy | ActiveStrategy | SecretDocument

_KINDS: dict[
    tuple[str, str],
    type[Broker] | type[Strategy] | type[ActiveStrategy] | type[SecretDocument],
] = {
    (GROUP_VERSION, "Broker"): Broker,
    (GROUP_VERSION, "Strategy"): Strategy,
    (GROUP_VERSION, "ActiveStrategy"): ActiveStrategy,
    ("v1", "Secret"): SecretDocument,
}


def parse_document(document: object) -> Document:
    """Read one YAML document. Raises `Misconfigured` with the path of each wrong field."""
    if not isinstance(document, dict):
        raise Misconfigured("not a resource: expected apiVersion, kind, metadata and spec")
    kind = (str(document.get("apiVersion")), str(document.get("kind")))
    model = _KINDS.get(kind)
    if model is None:
        known = ", ".join(f"{k} ({v})" for v, k in _KINDS)
        raise Misconfigured(
            f"kind: {kind[1]} with apiVersion {kind[0]} is not known; known are {known}"
        )
    known_metadata = _without_server_fields(document)
    try:
        return model.model_validate(known_metadata)
    except ValidationError as error:
        raise Misconfigured("; ".join(_problems(error))) from None


def _without_server_fields(document: dict[Any, Any]) -> dict[Any, Any]:
    """Drop what a cluster adds and a person doesn't mean: status and most of the metadata."""
    cleaned = {k: v for k, v in document.items() if k != "status"}
    metadata = cleaned.get("metadata")
    if isinstance(metadata, dict):
        server_side = {
            "annotations",
            "creationTimestamp",
            "generation",
            "labels",
            "managedFields",
            "resourceVersion",
            "uid",
        }
        cleaned["metadata"] = {k: v for k, v in metadata.items() if k not in server_side}
    return cleaned


def _problems(error: ValidationError) -> list[str]:
    # The input is left out on purpose: it may be a secret.
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "resource"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown field"
        problems.append(f"{path}: {message}")
    return problems
