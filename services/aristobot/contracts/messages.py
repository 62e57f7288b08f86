"""The messages on the bus: frozen, typed, versioned by addition only.

A webhook crosses the bus as its raw body, byte for byte, so that what the sender said can always
be looked up; what ingress knows about it rides in headers. All other messages are JSON. Trace
context is never part of a message: `platform.telemetry` carries it in headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from aristobot.contracts.streams import BrokerKey
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.core.symbols import QuantityRule, SymbolRules

RECEIVED_AT_HEADER = "Aristobot-Received-At"
SOURCE_HEADER = "Aristobot-Source"
CONTENT_TYPE_HEADER = "Aristobot-Content-Type"
MESSAGE_ID_HEADER = "Nats-Msg-Id"

#: Plain notation always: `1E+2` would be valid JSON text and a surprise to every other reader.
Amount = Annotated[Decimal, PlainSerializer(lambda d: format(d, "f"), return_type=str)]


PositiveAmount = Annotated[Amount, Field(gt=0, allow_inf_nan=False)]


class Message(BaseModel):
    """Base of the JSON messages. Unknown fields are ignored, so that fields can be added."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True, slots=True)
class WebhookReceived:
    """An authenticated delivery. `source` is the client's address as ingress saw it."""

    body: bytes
    received_at: datetime
    source: str
    content_type: str
    delivery_key: str

    def headers(self) -> dict[str, str]:
        return {
            MESSAGE_ID_HEADER: self.delivery_key,
            RECEIVED_AT_HEADER: self.received_at.isoformat(timespec="microseconds"),
            SOURCE_HEADER: self.source,
            CONTENT_TYPE_HEADER: self.content_type,
        }

    @classmethod
    def decode(cls, body: bytes, headers: Mapping[str, str]) -> WebhookReceived:
        """Rebuild from the bus. Raises KeyError or ValueError if ingress didn't send it."""
        return cls(
            body=body,
            received_at=datetime.fromisoformat(headers[RECEIVED_AT_HEADER]).astimezone(UTC),
            source=headers.get(SOURCE_HEADER, ""),
            content_type=headers.get(CONTENT_TYPE_HEADER, ""),
            delivery_key=headers[MESSAGE_ID_HEADER],
        )


class AskedBy(StrEnum):
    """Who asked for an order; the journal and the order list show it."""

    WEBHOOK = "webhook"
    STRATEGY = "strategy"
    MANUAL = "manual"
    GUARDIAN = "guardian"


class Level(Message):
    """A stop or target: a price, or a fraction of the entry's average price (0.02 is 2 %)."""

    kind: Literal["price", "fraction"]
    value: PositiveAmount


class Protection(Message):
    """What keeps the position safe once the order is over.

    `held_quantity`: base that the position held before this order; it is protected by the orders
    that the gateway placed for it, which this order replaces.
    """

    stop_loss: Level | None = None
    take_profit: Level | None = None
    held_quantity: Amount = Decimal(0)


#: Whose position an order moves: the webhooks' of the broker, or one active strategy's.
WEBHOOK_HOLDER = "webhook"


def strategy_holder(active_strategy: str) -> str:
    """The holder of an active strategy's position. `:` can't be part of a name."""
    return f"strategy:{active_strategy}"


class RefusableOrder(Message):
    """An order by its ids, its place and its cause: all that a refusal says of it.

    Read alone where a later version's order can't be. `command_id` is a function of what caused it,
    and so is the client id.
    """

    kind: Literal["place"] = "place"
    command_id: str
    client_order_id: str
    owner: str
    broker: str
    symbol: str
    side: Side
    asked_by: AskedBy
    source_id: str
    caused_at: datetime
    holder: str = WEBHOOK_HOLDER

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class PlaceOrder(RefusableOrder):
    """Place one order.

    `valid_until`: after it the order is not sent (again); None means no limit. `protection`: the
    stop and target of the position that the order enters or leaves, None when it has neither.
    """

    type: OrderType
    quantity: PositiveAmount | None = None
    quote_quantity: PositiveAmount | None = None
    price: PositiveAmount | None = None
    valid_until: datetime | None = None
    protection: Protection | None = None

    @model_validator(mode="after")
    def _is_an_order(self) -> PlaceOrder:
        """A command that no exchange could take must not become an intent."""
        if (self.quantity is None) == (self.quote_quantity is None):
            raise ValueError("exactly one of quantity and quote_quantity is needed")
        if (self.price is None) != (self.type is OrderType.MARKET):
            raise ValueError("a limit order has a price, a market order has none")
        if self.type is OrderType.LIMIT and self.quantity is None:
            raise ValueError("a limit order has a base quantity")
        return self


class CancelOrder(Message):
    """Cancel one order of ours, named by its client order id."""

    kind: Literal["cancel"] = "cancel"
    command_id: str
    client_order_id: str
    owner: str
    broker: str
    symbol: str
    asked_by: AskedBy
    caused_at: datetime

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class ProtectPosition(Message):
    """Give a position another stop and target, for all of it, in place of those it has."""

    kind: Literal["protect"] = "protect"
    command_id: str
    owner: str
    broker: str
    symbol: str
    holder: str = WEBHOOK_HOLDER
    protection: Protection
    asked_by: AskedBy
    caused_at: datetime

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class CancelOrders(Message):
    """Cancel every open order of one holder of a symbol, stop and target too, and let none follow.

    What is held stays. `valid_until`: after it nothing is cancelled any more, for what is open by
    then may belong to a position that nobody asked about.
    """

    kind: Literal["cancel_orders"] = "cancel_orders"
    command_id: str
    owner: str
    broker: str
    symbol: str
    holder: str
    asked_by: AskedBy
    caused_at: datetime
    valid_until: datetime

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class CommandEnvelope(Message):
    """What travels on `orders.commands`: one of the commands, told apart by `kind`."""

    command: Annotated[
        PlaceOrder | CancelOrder | ProtectPosition | CancelOrders, Field(discriminator="kind")
    ]


class OrderEvent(Message):
    """Something happened to an order. Executed amounts are cumulative, so events may repeat.

    `event_id` is a function of order, status and executed quantity. `base_fee` is the part of
    the executed quantity that the exchange kept as its fee (Binance takes a buy's fee from the
    base received), so `executed_quantity - base_fee` is what a buy really brought.
    """

    event_id: str
    command_id: str
    client_order_id: str
    owner: str
    broker: str
    symbol: str
    side: Side
    status: OrderStatus
    executed_quantity: Amount = Decimal(0)
    executed_quote: Amount = Decimal(0)
    base_fee: Amount = Decimal(0)
    reason: str | None = None
    at: datetime
    holder: str = WEBHOOK_HOLDER

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class ClosedCandle(Message):
    """A candle on CANDLES; its message id is `keys.candle_id`.

    `market`: `contracts.markets.market_id`. `is_late`: it was fetched after a gap, not built from
    trades as they came; `late_seconds` is how long after its close, on the market's clock.
    """

    market: str
    symbol: str
    timeframe: Timeframe
    open_time: datetime
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount
    quote_volume: Amount
    trades: int
    is_late: bool = False
    late_seconds: float = 0.0

    @classmethod
    def of(
        cls, market: str, candle: Candle, *, is_late: bool = False, late_seconds: float = 0.0
    ) -> ClosedCandle:
        return cls(
            market=market,
            is_late=is_late,
            late_seconds=late_seconds,
            **{item.name: getattr(candle, item.name) for item in fields(candle)},
        )

    def to_candle(self) -> Candle:
        return Candle(**{item.name: getattr(self, item.name) for item in fields(Candle)})


class RawTrade(Message):
    """One public trade; ids are consecutive for a symbol, so a reader of two replicas can tell."""

    id: int
    price: Amount
    quantity: Amount
    at: datetime


class RawTrades(Message):
    """What a heartbeat has just seen of one symbol, oldest first. For display; nothing is kept."""

    market: str
    symbol: str
    replica: str
    trades: tuple[RawTrade, ...]


class Decision(Message):
    """What a strategy decided on a candle, or a person for it ("sell now").

    `quote_amount`: how much quote currency a buy spends; a sell sells what the strategy holds.
    `decision_id` is `keys.decision_id`: one for each candle, whatever was decided on it, so of two
    runners' verdicts the first counts.
    """

    decision_id: str
    owner: str
    broker: str
    active_strategy: str
    symbol: str
    timeframe: Timeframe
    candle_close: datetime
    side: Side
    quote_amount: PositiveAmount | None = None
    stop_loss: Level | None = None
    take_profit: Level | None = None
    asked_by: AskedBy = AskedBy.STRATEGY
    decided_at: datetime

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class CancelDecision(Message):
    """A wish, on DECISIONS, that all open orders of a strategy be cancelled and its coins stay.

    `decision_id` is `keys.cancel_decision_id`. It goes the way of the strategy's own decisions, so
    once it is recorded none of those that were published before it can lead to an order any more.
    Without a side, so that whoever doesn't know the kind can't take it for a trade.
    """

    kind: Literal["cancel_orders"]
    decision_id: str
    owner: str
    broker: str
    active_strategy: str
    symbol: str
    asked_by: AskedBy = AskedBy.MANUAL
    decided_at: datetime

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)


class StrategyPhase(StrEnum):
    """What the runner is doing with an active strategy."""

    STARTING = "Starting"
    WARMING = "Warming"
    RUNNING = "Running"
    OUTSIDE_WINDOW = "OutsideWindow"
    PAUSED = "Paused"
    FAILED = "Failed"


class StrategyStatus(Message):
    """How an active strategy fares, for its resource's status. `reason` is one CamelCase word.

    Of which record it is said: `ActiveStrategyRecord.is_meant_by`.
    """

    owner: str
    active_strategy: str
    uid: str
    generation: int
    strategy_digest: str | None = None
    phase: StrategyPhase
    reason: str
    message: str
    candles: int = 0
    last_candle_close: datetime | None = None
    last_decision: str | None = None
    restarts: int = 0
    memory_bytes: int | None = None


class StrategyContextQuery(Message):
    """Ask the engine what a strategy may know: its position, and the free quote balance."""

    active_strategy: str
    symbol: str


class StrategyContext(Message):
    """`has_order_under_way`: an order of the strategy's is not over yet; it decides nothing now."""

    quantity: Amount
    entry_price: Amount | None = None
    stop_loss_price: Amount | None = None
    take_profit_price: Amount | None = None
    has_order_under_way: bool = False
    free_quote: Amount


class HoldingsQuery(Message):
    """Ask the engine what is held on a broker, and what became of some decisions, by their ids."""

    decision_ids: tuple[str, ...] = Field(default=(), max_length=1000)


class HolderPosition(Message):
    """What one holder has of one symbol, as the books say it. Not asked: whether it can be sold.

    `open_orders`: not over yet, or planned to be sent; the stop and the target are among them.
    """

    holder: str
    symbol: str
    quantity: Amount
    has_order_under_way: bool
    open_orders: int


class RecordedDecision(Message):
    """What became of a decision. `order_*`: of the order that it led to, once there is one."""

    decision_id: str
    outcome: str
    code: str | None = None
    reason: str | None = None
    order_status: OrderStatus | None = None
    order_reason: str | None = None


class HoldingsReply(Message):
    """Every position, order under way and open order of a broker, and the decisions asked about.

    A decision that isn't recorded is left out. `is_broker_known`: whether the broker's decisions
    are processed; those of a broker without a record wait for it to come back.
    """

    is_broker_known: bool
    positions: tuple[HolderPosition, ...] = ()
    decisions: tuple[RecordedDecision, ...] = ()


class CandlesQuery(Message):
    """Ask a gateway for closed candles of its exchange, oldest first, `open_time` >= `start`.

    At most 1000 a query; `end` is exclusive. Timeframes the exchange lacks are aggregated.
    """

    kind: Literal["candles"] = "candles"
    symbol: str
    timeframe: Timeframe
    start: datetime | None = None
    end: datetime | None = None
    limit: int = Field(default=500, ge=1, le=1000)


class SizingQuery(Message):
    """Ask a gateway for what sizing needs, as it stands once `after_command` is settled.

    What the stops and targets of `holder` keep locked counts as free: its sale cancels them.
    """

    kind: Literal["sizing"] = "sizing"
    symbol: str
    after_command: str | None = None
    holder: str = WEBHOOK_HOLDER


class AccountQuery(Message):
    """Ask a gateway for all balances, straight from the exchange."""

    kind: Literal["account"] = "account"


class PingQuery(Message):
    """Ask a gateway whether its exchange answers."""

    kind: Literal["ping"] = "ping"


class QueryEnvelope(Message):
    """What travels on `gateway.query`."""

    query: Annotated[
        SizingQuery | AccountQuery | PingQuery | CandlesQuery, Field(discriminator="kind")
    ]


class QuantityRuleMessage(Message):
    minimum: Amount | None = None
    maximum: Amount | None = None
    step: Amount | None = None

    def to_rule(self) -> QuantityRule:
        return QuantityRule(self.minimum, self.maximum, self.step)


class SymbolRulesMessage(Message):
    """`core.symbols.SymbolRules` on the wire."""

    symbol: str
    base: str
    quote: str
    is_trading: bool
    limit: QuantityRuleMessage
    market: QuantityRuleMessage
    price_tick: Amount | None = None
    min_notional: Amount | None = None
    min_notional_for_market: bool
    max_notional: Amount | None = None
    max_notional_for_market: bool
    quote_precision: int
    market_by_quote: bool

    @classmethod
    def from_rules(cls, rules: SymbolRules) -> SymbolRulesMessage:
        return cls.model_validate(rules, from_attributes=True)

    def to_rules(self) -> SymbolRules:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return SymbolRules(
            **{**fields, "limit": self.limit.to_rule(), "market": self.market.to_rule()}
        )


class BalanceMessage(Message):
    asset: str
    free: Amount
    locked: Amount


class QueryFailure(Message):
    """Why a query has no result. `is_final`: asking again won't help (an unknown symbol)."""

    code: str
    message: str
    is_final: bool


class SizingReply(Message):
    rules: SymbolRulesMessage
    free_base: Amount
    free_quote: Amount
    price: Amount


class CandlesReply(Message):
    market: str
    candles: tuple[ClosedCandle, ...]


class AccountReply(Message):
    balances: tuple[BalanceMessage, ...]


class PingReply(Message):
    """`exchange_ms`: round trip of the exchange's clock call; `offset_ms`: its clock minus ours."""

    exchange_ms: float
    offset_ms: float
    stream_connected: bool


class QueryReply(Message):
    """Exactly one field is set."""

    sizing: SizingReply | None = None
    account: AccountReply | None = None
    ping: PingReply | None = None
    candles: CandlesReply | None = None
    context: StrategyContext | None = None
    holdings: HoldingsReply | None = None
    failure: QueryFailure | None = None
