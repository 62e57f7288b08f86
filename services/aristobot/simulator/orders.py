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
    """How an order meets the market."""

    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"


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
    def spent_asset(self) -> str:
        """The asset the order gives: quote for a buy, base for a sell."""
        return self.pair.quote if self.side is Side.BUY else self.pair.base

    @property
    def received_asset(self) -> str:
        return self.pair.base if self.side is Side.BUY else self.pair.quote


class Refusal(StrEnum):
    """Why the engine refuses a command; the dialects turn it into their codes."""

    PRICE_STEP = "price_step"
    PRICE_BAND = "price_band"
    QUANTITY = "quantity"
    MARKET_QUANTITY = "market_quantity"
    NOTIONAL = "notional"
    OPEN_ORDERS = "open_orders"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    WOULD_MATCH = "would_match"
    NOT_OPEN = "not_open"


class Refused(Exception):
    """A command was refused; nothing has changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"Refused: {refusal.value}.")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a dialect asks to place. Exactly one of `quantity` and `quote_quantity` is set."""

    symbol: str
    side: Side
    kind: Kind
    client_id: str
    lifetime: Lifetime = Lifetime.GOOD_TILL_CANCELLED
    price: Decimal | None = None
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FillPlan:
    """How a fault bends an order's fills: `fraction` now, the rest after `seconds` (or never)."""

    fraction: Decimal
    seconds: float
    rest_expires: bool = False
