"""Orders and trades as the simulated exchange keeps them, in no venue's words. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from aristobot.core.orders import OrderStatus, Side

if TYPE_CHECKING:
    from aristobot.simulator.accounts import Account
    from aristobot.simulator.pairs import Pair

ZERO = Decimal(0)


class Kind(StrEnum):
    """How an order meets the market, once it does."""

    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"


class Trigger(StrEnum):
    """What a conditional order waits for: the last price moving against it, or for it."""

    STOP = "stop"
    TARGET = "target"


class Lifetime(StrEnum):
    """What happens to the part that cannot be filled at once."""

    GOOD_TILL_CANCELLED = "gtc"
    IMMEDIATE_OR_CANCEL = "ioc"
    FILL_OR_KILL = "fok"


class EndReason(StrEnum):
    """Why an order ended without being filled completely."""

    CLIENT = "client"
    IMMEDIATE_REMAINDER = "immediate_remainder"
    NOT_FILLABLE_AT_ONCE = "not_fillable_at_once"
    NO_LIQUIDITY = "no_liquidity"
    ACCOUNT_RESET = "account_reset"
    OTHER_LEG = "other_leg"
    """The other order of its list started to work."""
    NO_FUNDS = "no_funds"
    """It triggered, and the market has become dearer than what the account has."""


@dataclass(slots=True, eq=False, repr=False)
class Trade:
    """One fill. `fee` is in `fee_asset`, taken from what the fill brings in."""

    id: int
    order: Order
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_asset: str
    time_ms: int
    is_maker: bool


@dataclass(slots=True, eq=False, repr=False)
class Order:
    """An accepted order. `quantity`, `executed` are in base, `quote_*`, `executed_quote` in quote.

    `locked` is what is still held back for it (quote for a buy, base for a sell). An order that a
    fault holds is not matched before `hold_until_ms` (machine time); then it fills at `fixed_price`
    when one was set at acceptance, expires when `expires_when_due`, or else meets the market.

    An order with a `trigger` waits, out of the book, until the last price reaches `stop_price`;
    `working_ms` is None so long. What an order of an open list needs is locked by the list. A
    fault's `plan` stretches the fills of an order that is in a list or was triggered.
    """

    id: int
    account: Account
    pair: Pair
    client_id: str
    side: Side
    kind: Kind
    lifetime: Lifetime
    price: Decimal
    quantity: Decimal
    quote_requested: Decimal
    created_ms: int
    updated_ms: int
    trigger: Trigger | None = None
    stop_price: Decimal = ZERO
    list_id: int | None = None
    working_ms: int | None = None
    plan: FillPlan | None = None
    status: OrderStatus = OrderStatus.NEW
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    locked: Decimal = ZERO
    end_reason: EndReason | None = None
    cancel_client_id: str | None = None
    hold_until_ms: int | None = None
    fixed_price: Decimal | None = None
    expires_when_due: bool = False
    trades: list[Trade] = field(default_factory=list)

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        return self.status in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)

    @property
    def is_waiting(self) -> bool:
        """Whether it is open and has not been triggered yet."""
        return self.is_open and self.working_ms is None

    @property
    def spent_asset(self) -> str:
        """The asset the order gives: quote for a buy, base for a sell."""
        return self.pair.quote if self.side is Side.BUY else self.pair.base

    @property
    def received_asset(self) -> str:
        return self.pair.base if self.side is Side.BUY else self.pair.quote


@dataclass(slots=True, eq=False, repr=False)
class OrderList:
    """Two orders of which one cancels the other; `locked` covers whichever of them will work.

    It is open until one leg starts to work or both are cancelled. `legs` are order and client ids.
    """

    id: int
    account: Account
    pair: Pair
    client_id: str
    side: Side
    legs: tuple[tuple[int, str], ...]
    created_ms: int
    updated_ms: int
    locked: Decimal
    is_open: bool = True

    @property
    def spent_asset(self) -> str:
        """The asset either leg gives."""
        return self.pair.quote if self.side is Side.BUY else self.pair.base


class Refusal(StrEnum):
    """Why the engine refuses a command; the dialects turn it into their codes."""

    PRICE_STEP = "price_step"
    PRICE_BAND = "price_band"
    QUANTITY = "quantity"
    MARKET_QUANTITY = "market_quantity"
    NOTIONAL = "notional"
    OPEN_ORDERS = "open_orders"
    CONDITIONAL_ORDERS = "conditional_orders"
    ORDER_LISTS = "order_lists"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    WOULD_MATCH = "would_match"
    WOULD_TRIGGER = "would_trigger"
    LIST_PRICES = "list_prices"
    NOT_OPEN = "not_open"


class Refused(Exception):
    """A command was refused; nothing has changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"Refused: {refusal.value}.")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a dialect asks to place. Exactly one of `quantity` and `quote_quantity` is set.

    `trigger` and `stop_price` come together; such an order has a `quantity`.
    """

    symbol: str
    side: Side
    kind: Kind
    client_id: str
    lifetime: Lifetime = Lifetime.GOOD_TILL_CANCELLED
    price: Decimal | None = None
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    trigger: Trigger | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A pair to place: same symbol, side and quantity. `stop` has the trigger STOP; `target` is
    a post-only order or has the trigger TARGET."""

    client_id: str
    stop: OrderRequest
    target: OrderRequest


@dataclass(frozen=True, slots=True)
class FillPlan:
    """How a fault bends an order's fills: `fraction` now, the rest after `seconds` (or never)."""

    fraction: Decimal
    seconds: float
    rest_expires: bool = False
