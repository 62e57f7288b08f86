"""Makes minute candles of trades: the heartbeat's rules, and the only place that closes a candle.

Trades of all symbols of one market go in, closed minutes come out; `core.candle_ledger` makes the
longer candles of them. The market's event time is the only clock. A symbol's minute closes when
its own trade at or past the close comes, or when the market's clock is `grace_ms` past the close
(streams of different symbols may overtake each other by so much). A minute without trades closes
flat at the price before it.

What was not seen whole is never made up: the minutes in which following began or was interrupted,
or in which trade ids jump (they are consecutive, exchange reference 3.1), come out as `Missed`.
Deliberately not here: fetching what was missed, and any I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from aristobot.core.candles import Candle, Timeframe

MINUTE_MS = 60_000
GRACE_MS = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = Decimal(0)


class Trade(NamedTuple):
    """One public trade. `time_ms`: when it happened; `event_ms`: when the exchange told it."""

    symbol: str
    id: int
    price: Decimal
    quantity: Decimal
    time_ms: int
    event_ms: int


@dataclass(frozen=True, slots=True)
class Missed:
    """Minutes [from_time, to_time) that were not seen whole; their candles must be fetched."""

    symbol: str
    from_time: datetime
    to_time: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A minute that was published, and then turned out to lack a trade. It can't be taken back."""

    symbol: str
    open_time: datetime
    reason: str


Outcome = Candle | Missed | Doubtful


def from_ms(ms: int) -> datetime:
    """The moment `ms` milliseconds after the epoch, UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """The reverse, exact."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class _Symbol:
    """One symbol's open minute. `minute_ms` None: nothing of the market was seen yet."""

    __slots__ = (
        "cause", "close", "high", "incomplete_until_ms", "last_id", "last_price", "low",
        "minute_ms", "missing_from_ms", "name", "open", "quote_volume", "traded_ms", "trades",
        "volume",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.minute_ms: int | None = None
        self.open = self.high = self.low = self.close = _ZERO
        self.volume = self.quote_volume = _ZERO
        self.trades = 0
        #: The price that a flat minute has; None: not known since the last interruption.
        self.last_price: Decimal | None = None
        self.last_id: int | None = None
        #: The minute of the newest trade.
        self.traded_ms: int | None = None
        #: Minutes from the one up to and with the other are incomplete. None: none are.
        self.missing_from_ms: int | None = None
        self.incomplete_until_ms = 0
        self.cause = ""


class CandleBuilder:
    """The open minutes of one market's symbols."""

    def __init__(self, *, grace_ms: int = GRACE_MS) -> None:
        self._grace_ms = grace_ms
        self._symbols: dict[str, _Symbol] = {}
        self._interrupted: dict[str, str] = {}
        self._clock_ms = 0
        #: The clock at which the next minute closes; 0: look at once.
        self._due_ms = 0

    @property
    def clock_ms(self) -> int:
        """The newest event time of all symbols; 0 before the first event."""
        return self._clock_ms

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._symbols)

    def follow(self, symbols: Iterable[str], cause: str) -> None:
        """From the next event on all trades of these symbols are seen, as they were not before.

        For a new symbol the minute of that event is missed, for others all since its open minute.
        """
        for name in symbols:
            self._symbols.setdefault(name, _Symbol(name))
            self._interrupted[name] = cause

    def forget(self, symbol: str) -> None:
        """Its trades come no more and its open minute is dropped."""
        self._symbols.pop(symbol, None)
        self._interrupted.pop(symbol, None)

    def take(self, trade: Trade) -> list[Outcome]:
        """Count one trade. Returns what closed by it, oldest first for each symbol."""
        outcomes: list[Outcome] = []
        if trade.event_ms > self._clock_ms:
            self._clock_ms = trade.event_ms
        if self._interrupted:
            self._resume()
        symbol = self._symbols.get(trade.symbol)
        if symbol is not None and symbol.last_id is not None and trade.id != symbol.last_id + 1:
            if trade.id <= symbol.last_id:
                symbol = None  # seen already: two connections overlap
            else:
                # Before anything closes: what closes now lacks trades.
                self._jumped(symbol, trade, outcomes)
        if self._clock_ms >= self._due_ms:
            self._close_due(outcomes)
        if symbol is None or symbol.minute_ms is None:
            return outcomes
        symbol.last_id = trade.id
        minute = trade.time_ms - trade.time_ms % MINUTE_MS
        if minute < symbol.minute_ms:
            self._too_late(symbol, minute, outcomes)
            return outcomes
        if minute > symbol.minute_ms:
            _close_until(symbol, minute, outcomes)
        _count(symbol, trade)
        return outcomes

    def learn_close(self, symbol: str, open_time: datetime, close: Decimal) -> None:
        """Take the close of a fetched minute, if it is the one before the open minute.

        So that minutes without trades can close flat although no trade was seen since following.
        """
        known = self._symbols.get(symbol)
        if (
            known is not None
            and known.last_price is None
            and known.minute_ms is not None
            and known.minute_ms == to_ms(open_time) + MINUTE_MS
            and symbol not in self._interrupted
        ):
            known.last_price = close

    def _resume(self) -> None:
        """The first event since an interruption: its minute is the last incomplete one."""
        minute = self._clock_ms - self._clock_ms % MINUTE_MS
        for name, cause in self._interrupted.items():
            symbol = self._symbols[name]
            if symbol.minute_ms is None:
                symbol.minute_ms = minute
            # A minute may be open still that the clock has left: grace.
            _mark_missing(symbol, max(minute, symbol.minute_ms), cause)
            symbol.last_price = None
            symbol.last_id = None
        self._interrupted.clear()
        self._due_ms = 0

    def _close_due(self, outcomes: list[Outcome]) -> None:
        """Close what ended `grace_ms` ago on the market's clock."""
        reached = self._clock_ms - self._grace_ms
        reached -= reached % MINUTE_MS
        for symbol in self._symbols.values():
            if symbol.minute_ms is not None and symbol.minute_ms < reached:
                _close_until(symbol, reached, outcomes)
        self._due_ms = reached + MINUTE_MS + self._grace_ms

    def _jumped(self, symbol: _Symbol, trade: Trade, outcomes: list[Outcome]) -> None:
        """Trades between the last one and this one never came."""
        minute = trade.time_ms - trade.time_ms % MINUTE_MS
        if symbol.traded_ms is not None and symbol.minute_ms is not None:
            # Minutes closed flat since the last trade may have had one of those.
            told_until = min(symbol.minute_ms, symbol.missing_from_ms or symbol.minute_ms)
            outcomes += [
                Doubtful(symbol.name, from_ms(minute_ms), "trade ids jumped after it closed")
                for minute_ms in range(symbol.traded_ms, told_until, MINUTE_MS)
            ]
        _mark_missing(symbol, minute, "trade ids jumped")

    def _too_late(self, symbol: _Symbol, minute: int, outcomes: list[Outcome]) -> None:
        if symbol.missing_from_ms is None or minute < symbol.missing_from_ms:
            outcomes.append(
                Doubtful(symbol.name, from_ms(minute), "a trade came after it had closed")
            )


def _mark_missing(symbol: _Symbol, until_minute_ms: int, cause: str) -> None:
    """The open minute and all up to `until_minute_ms` are incomplete."""
    if symbol.missing_from_ms is None:
        symbol.missing_from_ms = symbol.minute_ms
        symbol.incomplete_until_ms = until_minute_ms
        symbol.cause = cause
    else:
        symbol.incomplete_until_ms = max(symbol.incomplete_until_ms, until_minute_ms)


def _count(symbol: _Symbol, trade: Trade) -> None:
    price, quantity = trade.price, trade.quantity
    if symbol.trades:
        if price > symbol.high:
            symbol.high = price
        elif price < symbol.low:
            symbol.low = price
        symbol.volume += quantity
        symbol.quote_volume += price * quantity
    else:
        symbol.open = symbol.high = symbol.low = price
        symbol.volume = quantity
        symbol.quote_volume = price * quantity
    symbol.close = price
    symbol.last_price = price
    symbol.trades += 1
    symbol.traded_ms = symbol.minute_ms


def _close_until(symbol: _Symbol, minute_ms: int, outcomes: list[Outcome]) -> None:
    """Close every minute before `minute_ms`, which becomes the open one."""
    while symbol.minute_ms is not None and symbol.minute_ms < minute_ms:
        if symbol.missing_from_ms is None and (symbol.trades or symbol.last_price is not None):
            outcomes.append(_closed(symbol, symbol.minute_ms))
        else:
            _close_incomplete(symbol, symbol.minute_ms, outcomes)
        symbol.minute_ms += MINUTE_MS
        symbol.trades = 0


def _close_incomplete(symbol: _Symbol, minute_ms: int, outcomes: list[Outcome]) -> None:
    if symbol.missing_from_ms is None:
        _mark_missing(symbol, minute_ms, "no price is known yet")
    if minute_ms >= symbol.incomplete_until_ms and symbol.missing_from_ms is not None:
        outcomes.append(
            Missed(
                symbol.name,
                from_ms(symbol.missing_from_ms),
                from_ms(minute_ms + MINUTE_MS),
                symbol.cause,
            )
        )
        symbol.missing_from_ms = None


def _closed(symbol: _Symbol, minute_ms: int) -> Candle:
    if symbol.trades:
        opened, high, low, close = symbol.open, symbol.high, symbol.low, symbol.close
        volume, quote_volume = symbol.volume, symbol.quote_volume
    else:
        opened = high = low = close = symbol.last_price or _ZERO
        volume = quote_volume = _ZERO
    return Candle(
        symbol=symbol.name,
        timeframe=Timeframe.M1,
        open_time=from_ms(minute_ms),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote_volume=quote_volume,
        trades=symbol.trades,
    )
