"""The port every venue implements, and the values that cross it.

The gateway knows only this module: it hands over an `OrderRequest` and gets an `OrderReport`,
a `Refused` (the exchange said no) or an `UnknownOutcome` (nobody knows; ask by client order id
before anything else). Venue JSON never crosses this line. Deliberately not here: retries of
orders (the gateway decides, from its intent row), sizing, and persistence.

Time: a venue's order is signed with the timestamp of the *intent*, not of the sending. The
exchange refuses a request older than `order_window_ms`, so once that window has passed an order
that the exchange doesn't know can never appear. This is what makes a resend safe.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from aristobot.core.candle_builder import Trade
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import AristobotError, Refused
from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.core.symbols import SymbolRules


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request to the exchange and what came back, for the journal. Secrets are hidden.

    `status` and `answer` are None when no answer came; `failure` then says why.
    """

    method: str
    path: str
    params: Mapping[str, str]
    sent_at: datetime
    duration_ms: float
    status: int | None
    answer: str | None
    failure: str | None = None

    @property
    def answered_at(self) -> datetime:
        """When the answer had come, or the wait for it was given up."""
        return self.sent_at + timedelta(milliseconds=self.duration_ms)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """Exactly one of `quantity` (base) and `quote_quantity` (market only).

    `price` for limit and limit_maker, `stop_price` for stop_loss and take_profit.
    """

    symbol: str
    side: Side
    type: OrderType
    client_order_id: str
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderListRequest:
    """A one-cancels-other pair: `stop` is a stop_loss, `target` a limit_maker or a take_profit.

    Both legs have the same symbol, side and base quantity; the funds are locked once. As soon as
    one leg starts to work the exchange ends the other as expired.
    """

    symbol: str
    list_client_id: str
    stop: OrderRequest
    target: OrderRequest


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `fee` is positive when paid, in `fee_asset`."""

    trade_id: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str | None
    at: datetime
    is_maker: bool | None = None


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the exchange says of an order. Executed amounts are cumulative."""

    symbol: str
    client_order_id: str
    exchange_order_id: str
    side: Side
    type: OrderType
    status: OrderStatus
    quantity: Decimal
    executed_quantity: Decimal
    executed_quote: Decimal
    price: Decimal | None
    updated_at: datetime
    fills: tuple[Fill, ...] = ()
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    asset: str
    free: Decimal
    locked: Decimal


@dataclass(frozen=True, slots=True)
class Answer:
    """A report with the call it came from. `report` None: the exchange knows no such order."""

    report: OrderReport | None
    call: HttpCall


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """The reports of both legs of an accepted pair, the stop first, with the call."""

    reports: tuple[OrderReport, ...]
    call: HttpCall


WOULD_TRIGGER = "would_trigger"
"""The one `ExchangeRefused.code` that means the same at every venue: the market has already passed
the price that the order was to wait for."""


class ExchangeRefused(Refused):
    """The exchange answered no, and nothing was done.

    `code` is the venue's own, or `WOULD_TRIGGER`.
    """

    def __init__(self, code: str, message: str, *, call: HttpCall | None = None) -> None:
        super().__init__(code, message)
        self.call = call


class UnknownOutcome(AristobotError):
    """The exchange may or may not have acted: a timeout, a 5xx, a lost or unreadable answer,
    or a refusal at the door (rate limit, clock) after which only a look tells.

    `retry_after_seconds` is how long the exchange asked to be left alone, 0 if it didn't.
    `was_turned_away`: the exchange answered that it didn't take this very request (rate limit,
    clock), so the request is not under way any more and its window need not be waited for.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float = 0.0,
        was_turned_away: bool = False,
        call: HttpCall | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.was_turned_away = was_turned_away
        self.call = call


@dataclass(frozen=True, slots=True)
class StreamConnected:
    """The private stream is subscribed; what happened before must be read over REST."""


@dataclass(frozen=True, slots=True)
class StreamLost:
    """The private stream broke; balances may be stale until it is back."""

    reason: str


@dataclass(frozen=True, slots=True)
class OrderUpdated:
    """An order changed; `report.fills` holds the fill that caused it, if one did."""

    report: OrderReport


@dataclass(frozen=True, slots=True)
class BalancesUpdated:
    """New absolute balances of the assets that changed, as of `at` (exchange clock)."""

    balances: tuple[Balance, ...]
    at: datetime


StreamEvent = StreamConnected | StreamLost | OrderUpdated | BalancesUpdated


@dataclass(frozen=True, slots=True)
class Account:
    """All non-zero balances as of `at` (exchange clock)."""

    balances: Mapping[str, Balance] = field(default_factory=dict)
    at: datetime | None = None


class ExchangeClient(Protocol):
    """One account on one venue. Every call has its own timeout.

    Reads raise `Retryable` (try later, honours Retry-After) or `Misconfigured` (bad key).
    """

    @property
    def order_window_ms(self) -> int:
        """How long after its timestamp the exchange still takes an order."""
        ...

    def now_ms(self) -> int:
        """The exchange's clock, estimated: local clock plus the measured offset."""
        ...

    async def connect(self) -> None:
        """Measure the clock offset and check that the exchange answers."""
        ...

    async def measure_clock(self) -> None:
        """Ask the exchange for its time anew, so that `now_ms` is right at this moment."""
        ...

    async def close(self) -> None: ...

    async def symbols(self) -> Mapping[str, SymbolRules]: ...

    async def account(self) -> Account: ...

    async def price(self, symbol: str) -> Decimal: ...

    async def candles(
        self,
        symbol: str,
        timeframe: Timeframe,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 500,
    ) -> tuple[Candle, ...]:
        """Closed candles with `start` <= open time < `end`, oldest first, at most `limit`.

        With a start the oldest ones, without it the newest. `Misconfigured`: no such symbol.
        """
        ...

    async def place(self, request: OrderRequest, *, timestamp_ms: int) -> Answer:
        """Send once. Returns a report, or raises `ExchangeRefused` or `UnknownOutcome`."""
        ...

    async def place_list(self, request: OrderListRequest, *, timestamp_ms: int) -> ListAnswer:
        """Send a pair once; raises as `place` does.

        Afterwards each leg is looked up like any order; cancelling one of them cancels both.
        """
        ...

    async def order(self, symbol: str, client_order_id: str) -> Answer:
        """Ask by client order id; `report` is None when the exchange knows no such order."""
        ...

    async def fills(self, symbol: str, exchange_order_id: str) -> tuple[Fill, ...]: ...

    async def cancel(self, symbol: str, client_order_id: str) -> Answer:
        """Cancel; `report` is None when there was nothing to cancel (filled or never there)."""
        ...

    async def open_orders(self) -> tuple[OrderReport, ...]: ...

    def stream(self) -> AsyncIterator[StreamEvent]:
        """The private stream, reconnecting for ever; each (re)connect yields StreamConnected."""
        ...


@dataclass(frozen=True, slots=True)
class MarketConnected:
    """From here on every trade of these symbols comes; what was before was not all seen."""

    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class MarketLost:
    """The stream broke off: nothing comes until the next `MarketConnected`."""

    reason: str


@dataclass(frozen=True, slots=True)
class SymbolUnknown:
    """The exchange has no trades for this symbol."""

    symbol: str
    reason: str


MarketEvent = Trade | MarketConnected | MarketLost | SymbolUnknown


class MarketStream(Protocol):
    """The public trades of one market, which need no account. Reconnects for ever."""

    def follow(self, symbols: Iterable[str]) -> None:
        """Follow exactly these from now on; may be called at any time. `Misconfigured` if too many.

        New ones are told by a `MarketConnected` of their own, once their trades come.
        """
        ...

    def events(self) -> AsyncIterator[MarketEvent]:
        """Trades of one symbol in the order of their ids; a renewal may repeat some."""
        ...

    async def close(self) -> None: ...
