"""The resources a user applies, as models: the same YAML for `aristobot apply` and `kubectl`.

One pydantic model per kind, field names as in the YAML. `parse_document` turns a YAML document
into one of them or names the path of the wrong field. Kubernetes' `Secret` is understood as far
as credentials need it, so that the same files work in both places. Not here: storing
(`platform.resource_store`) and turning them into processes (`contracts.workload`).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from aristobot.contracts.fields import (
    NO_TEXT,
    Base64Text,
    Flag,
    Moment,
    Name,
    PositiveAmount,
    ResourceName,
    Spec,
    decoded,
)
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured

GROUP_VERSION: Final = "trading.aristobot.io/v1alpha1"
DEFAULT_OWNER = "demo"

#: `kubectl apply` and operators copy a spec into an annotation, and all annotations together have
#: 256 KiB; so code of more than this stands in a ConfigMap.
LONGEST_INLINE_CODE: Final = 100_000
#: A record with its code has to fit into one NATS message (1 MiB), whatever its characters.
LONGEST_CODE: Final = 200_000


def _quoted_off(value: Any) -> Any:
    if value is False:
        raise ValueError('write "off" in quotation marks: without them YAML reads it as false')
    return value


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


class OnDelete(StrEnum):
    """What becomes of orders and position when an ActiveStrategy is deleted."""

    DETACH = "detach"
    CANCEL_ORDERS = "cancelOrders"
    CLOSE_POSITIONS = "closePositions"


class SecretRef(Spec):
    """Names a Secret of the same namespace."""

    name: Name = Field(description="Name of the Secret.")


class RiskLimits(Spec):
    """Orders beyond these limits are refused, whoever asks for them."""

    max_order_notional: PositiveAmount | None = Field(
        default=None,
        description="An order worth more than this, in quote currency, is refused. "
        "None set: no limit.",
    )


class WebhookPolicy(Spec):
    """How alerts are judged."""

    allow_repeated_signals: Flag = Field(
        default=False, description="Whether the same bar's signal may act more than once."
    )
    max_signal_age_seconds: Annotated[int, Field(ge=0, le=86_400), NO_TEXT] = Field(
        default=300,
        description="An alert whose bar closed longer ago is recorded and not traded, and so is "
        "one that couldn't be processed in time. 0 switches this off.",
    )


class SimulatedAccount(Spec):
    """The account on the simulator."""

    balances: dict[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")], PositiveAmount] = Field(
        default_factory=lambda: {"USDT": Decimal(10_000)},
        max_length=50,
        description="What the account holds when it is new, by asset, for example USDT: 25000. "
        "A later change doesn't touch an account that is there.",
        json_schema_extra={"default": {"USDT": 10_000}},
    )


class BrokerSpec(Spec):
    """One account on one exchange, and what may trade on it."""

    exchange: Exchange = Field(description="The exchange. Can't be changed later.")
    environment: Environment = Field(
        default=Environment.LIVE,
        description="`live`: real money. `testnet`: the exchange's own test network. `simulator`: "
        "the platform's own exchange, with play money. Can't be changed later.",
    )
    trading_mode: Annotated[TradingMode, BeforeValidator(_quoted_off)] = Field(
        default=TradingMode.OFF,
        description='What may place orders: "off" nothing, `strategy` active strategies, '
        '`webhook` TradingView\'s alerts. In "off" and `strategy`, webhooks are recorded and '
        'nothing more. Write "off" in quotation marks: without them YAML reads it as false.',
    )
    number: Annotated[int, Field(ge=1, le=1_000_000), NO_TEXT] | None = Field(
        default=None,
        description="What an alert's UserExchangeID may name this broker by, beside its name. "
        "No two brokers of a namespace may have the same.",
    )
    credentials_secret_ref: SecretRef | None = Field(
        default=None,
        description="The Secret of the same namespace with the account's entries apiKey and "
        "apiSecret. Required unless the environment is `simulator`.",
    )
    webhook: WebhookPolicy = Field(default=WebhookPolicy(), description="How alerts are judged.")
    risk: RiskLimits = Field(
        default=RiskLimits(),
        description="Orders beyond these limits are refused, whoever asks for them.",
    )
    simulator: SimulatedAccount | None = Field(
        default=None,
        description="The account on the simulator. Only when the environment is `simulator`.",
    )

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
            raise ValueError("simulator is only allowed when environment is simulator: remove it")
        return self


class _ObjectMetadata(Spec):
    """`namespace`: the owner. Labels and annotations count on Kubernetes alone."""

    namespace: Name | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Metadata(_ObjectMetadata):
    name: ResourceName


class Broker(Spec):
    """One account on one exchange. Its gateway is the only process that has the account's key."""

    api_version: Literal["trading.aristobot.io/v1alpha1"] = GROUP_VERSION
    kind: Literal["Broker"] = "Broker"
    metadata: Metadata
    spec: BrokerSpec


class SecretMetadata(_ObjectMetadata):
    name: Name


class SecretDocument(Spec):
    """Kubernetes' `v1` Secret: `stringData` in the clear, or `data` in base64."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Secret"] = "Secret"
    metadata: SecretMetadata
    type: str = "Opaque"
    string_data: dict[str, str] = Field(default_factory=dict)
    data: dict[str, Base64Text] = Field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """The secret's entries in the clear; `stringData` wins, as in Kubernetes."""
        return {**{key: decoded(value) for key, value in self.data.items()}, **self.string_data}


class ConfigMapKeyRef(Spec):
    """One entry of a ConfigMap of the same namespace."""

    name: Name = Field(description="Name of the ConfigMap.")
    key: str = Field(
        default="strategy.py",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="Which of its entries holds the code.",
    )


class StrategySpec(Spec):
    """Python code with one class deriving from `Strategy`, here or (on Kubernetes) in a ConfigMap.

    Exactly one of `code` and `codeConfigMapRef` is needed.
    """

    code: Annotated[str, Field(min_length=1, max_length=LONGEST_INLINE_CODE)] | None = Field(
        default=None,
        description="The Python code, with one class that derives from Strategy.",
    )
    code_config_map_ref: ConfigMapKeyRef | None = Field(
        default=None,
        description="Where the code stands instead: an entry of a ConfigMap of the same namespace. "
        "Works on Kubernetes alone.",
    )
    timeframe: Timeframe | None = Field(
        default=None,
        description="The length of its candles, for an ActiveStrategy that names none.",
    )

    @model_validator(mode="after")
    def _has_its_code_once(self) -> StrategySpec:
        if (self.code is None) == (self.code_config_map_ref is None):
            raise ValueError("exactly one of code and codeConfigMapRef is needed")
        return self


class Strategy(Spec):
    """Python code that decides when to buy and sell. It runs once an ActiveStrategy names it."""

    api_version: Literal["trading.aristobot.io/v1alpha1"] = GROUP_VERSION
    kind: Literal["Strategy"] = "Strategy"
    metadata: Metadata
    spec: StrategySpec


class ResourceRef(Spec):
    """Names another resource of the same namespace."""

    name: ResourceName = Field(description="Name of the resource.")


class ActiveStrategySpec(Spec):
    """A strategy at work: whose code, on which account, symbol and timeframe, and when."""

    strategy_ref: ResourceRef = Field(description="The Strategy whose code decides.")
    broker_ref: ResourceRef = Field(
        description="The Broker on whose account it trades; its tradingMode has to be `strategy`. "
        "Can't be changed later."
    )
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$", min_length=2, max_length=30)] = Field(
        description="The pair as the exchange writes it, for example BTCUSDT. "
        "Can't be changed later."
    )
    timeframe: Timeframe | None = Field(
        default=None, description="The length of its candles, instead of the Strategy's own."
    )
    start: Moment | None = Field(
        default=None,
        description="It acts on candles that close at or after this moment, for example "
        "2026-01-31T00:00:00Z. None set: from now on.",
    )
    end: Moment | None = Field(
        default=None,
        description="It acts on candles that close before this moment. None set: no end.",
    )
    active: Flag = Field(
        default=True, description="False: stopped for good; the resource stays as a record."
    )
    paused: Flag = Field(
        default=False,
        description="True: decides nothing until this is false again; what it holds stays, with "
        "stop and target.",
    )
    history_candles: Annotated[int, Field(ge=1, le=1000), NO_TEXT] = Field(
        default=200, description="How many candles the strategy sees at most."
    )
    max_signal_age_seconds: Annotated[int, Field(ge=1, le=86_400), NO_TEXT] = Field(
        default=60,
        description="A candle that arrives later than this after its close is not traded on.",
    )
    memory_mebibytes: Annotated[int, Field(ge=64, le=4096), NO_TEXT] = Field(
        default=256,
        description="What the strategy's own process may use, beyond what all strategies share.",
    )
    decision_seconds: Annotated[float, Field(ge=0.1, le=60.0, allow_inf_nan=False), NO_TEXT] = (
        Field(
            default=5.0,
            description="How long the strategy may think about one candle before it is ended.",
        )
    )
    on_delete: OnDelete = Field(
        default=OnDelete.DETACH,
        description="What becomes of its orders and position when this resource is deleted. "
        "`detach`: they stay as they are. `cancelOrders`: its open orders are cancelled first, "
        "stop and target too, and the position stays. `closePositions`: its orders are cancelled "
        "and the position is sold at market first. With the latter two the resource goes only "
        "once that is done.",
    )

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> ActiveStrategySpec:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        return self


class ActiveStrategy(Spec):
    """A strategy at work on one symbol of one broker. Exactly one process runs it."""

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
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        }
        kept = {k: v for k, v in metadata.items() if k not in server_side and v is not None}
        if isinstance(kept.get("annotations"), dict):
            kept["annotations"] = {
                k: v for k, v in kept["annotations"].items() if not _is_a_tool_s_own(k)
            }
        cleaned["metadata"] = kept
    return cleaned


def _is_a_tool_s_own(annotation: object) -> bool:
    """Notes of kubectl and of the operator's framework about the object that they once saw."""
    return str(annotation).startswith(("kubectl.kubernetes.io/", "kopf."))


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
