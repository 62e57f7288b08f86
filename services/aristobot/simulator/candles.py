"""Candles of one simulated pair: built trade by trade, kept in three bounded tiers.

Minutes feed hours, hours feed days; every served interval is aggregated from the coarsest tier
that divides it. Prices and volumes are integers in units of 1e-8, so nothing is lost and memory
stays small. A minute without a trade gives a flat candle. Pure: the time comes in as an argument.
"""

from __future__ import annotations

import datetime
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05, the first Monday after the epoch
_SCALE = 100_000_000
_SIGMA_PER_MINUTE = 0.0005
_LONGEST_GAP = 1_500

_MINUTES = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30}
_HOURS = {"1h": 1, "2h": 2, "4h": 4, "6h": 6, "8h": 8, "12h": 12}
_DAYS = {"1d": 1, "3d": 3}
_PER_TIER = {**_MINUTES, **_HOURS, **_DAYS, "1w": 7}
INTERVALS = (*_MINUTES, *_HOURS, *_DAYS, "1w", "1M")


class Candle(NamedTuple):
    """One candle; amounts in units of 1e-8, `open_ms` UTC."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_buy_volume: int
    taker_buy_quote: int


def to_units(amount: Decimal) -> int:
    """A Decimal as an integer of 1e-8 units (finer digits are cut)."""
    return int(amount * _SCALE)


def from_units(units: int) -> Decimal:
    """The Decimal that `units` of 1e-8 stand for."""
    return Decimal(units).scaleb(-8)


def _merge(a: Candle, b: Candle) -> Candle:
    """`a` extended by the later `b`. A period without trades has no say in where prices were."""
    if not b.trades:
        return a
    if not a.trades:
        return b._replace(open_ms=a.open_ms)
    return Candle(
        a.open_ms,
        a.open,
        max(a.high, b.high),
        min(a.low, b.low),
        b.close,
        a.volume + b.volume,
        a.quote_volume + b.quote_volume,
        a.trades + b.trades,
        a.taker_buy_volume + b.taker_buy_volume,
        a.taker_buy_quote + b.taker_buy_quote,
    )


def _extend(tier: deque[Candle], candle: Candle, period_ms: int) -> None:
    """Count a finer candle in the tier's last one, or begin the next one with it."""
    start = candle.open_ms - candle.open_ms % period_ms
    if tier and tier[-1].open_ms == start:
        tier[-1] = _merge(tier[-1], candle)
    else:
        tier.append(candle._replace(open_ms=start))


def _flat(open_ms: int, price: int) -> Candle:
    return Candle(open_ms, price, price, price, price, 0, 0, 0, 0, 0)


def _aggregate(
    candles: Iterable[Candle], open_of: Callable[[int], int], *, whole: bool
) -> Iterator[Candle]:
    """Merge candles that share a period; `whole` drops a first period that may lack its start."""
    current: Candle | None = None
    skip_until: int | None = None
    for candle in candles:
        start = open_of(candle.open_ms)
        if whole and current is None:
            if skip_until is None and start != candle.open_ms:
                skip_until = start
            if start == skip_until:
                continue
        if current is not None and start == current.open_ms:
            current = _merge(current, candle)
        else:
            if current is not None:
                yield current
            current = candle._replace(open_ms=start)
    if current is not None:
        yield current


def period_open(interval: str) -> Callable[[int], int]:
    """A function from a time to the open time of its candle, aligned as exchanges do (UTC)."""
    if interval == "1M":
        return _month_open
    if interval == "1w":
        return lambda ms: ms - (ms - _MONDAY_MS) % WEEK_MS
    period = (
        _MINUTES.get(interval, 0) * MINUTE_MS
        or _HOURS.get(interval, 0) * HOUR_MS
        or _DAYS[interval] * DAY_MS
    )
    return lambda ms: ms - ms % period


def close_ms(interval: str, open_ms: int) -> int:
    """The last millisecond of the candle that opens at `open_ms`."""
    if interval == "1M":
        return _month_open(open_ms + 32 * DAY_MS) - 1
    if interval == "1w":
        return open_ms + WEEK_MS - 1
    period = (
        _MINUTES.get(interval, 0) * MINUTE_MS
        or _HOURS.get(interval, 0) * HOUR_MS
        or _DAYS[interval] * DAY_MS
    )
    return open_ms + period - 1


def _month_open(ms: int) -> int:
    moment = datetime.datetime.fromtimestamp(ms / 1000, tz=datetime.UTC)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(first.timestamp()) * 1000


class CandleHistory:
    """The candles of one pair, the open one included."""

    def __init__(self, price: Decimal, now_ms: int) -> None:
        self.minutes: deque[Candle] = deque(maxlen=2_000)
        self.hours: deque[Candle] = deque(maxlen=1_100)
        self.days: deque[Candle] = deque(maxlen=800)
        self.open_minute = _flat(now_ms - now_ms % MINUTE_MS, to_units(price))

    def invent_past(self, dice: random.Random) -> None:
        """Fill the tiers with a walk that ends at the open minute's price."""
        start = self.open_minute.open_ms
        minutes = _walk_back(
            self.open_minute.open, start, MINUTE_MS, (start - 25 * HOUR_MS) // HOUR_MS, dice
        )
        self.minutes.extend(minutes)
        first = minutes[0]
        hours = _walk_back(
            first.open, first.open_ms, HOUR_MS, (first.open_ms - 960 * HOUR_MS) // HOUR_MS, dice
        )
        day_start = -(-hours[0].open_ms // DAY_MS) * DAY_MS
        hours = [hour for hour in hours if hour.open_ms >= day_start]
        self.hours.extend(hours)
        self.days.extend(
            _walk_back(
                hours[0].open, day_start, DAY_MS, (day_start - 400 * DAY_MS) // HOUR_MS, dice
            )
        )
        for hour in hours:
            _extend(self.days, hour, DAY_MS)
        for minute in minutes:
            self._absorb(minute)

    def add_trade(
        self, price: Decimal, quantity: Decimal, *, is_taker_buy: bool, now_ms: int
    ) -> None:
        """Count one trade; call `close_until(now_ms)` first."""
        units, volume = to_units(price), to_units(quantity)
        quote = to_units(price * quantity)
        trade = Candle(
            now_ms, units, units, units, units, volume, quote, 1,
            volume if is_taker_buy else 0, quote if is_taker_buy else 0,
        )  # fmt: skip
        self.open_minute = _merge(self.open_minute, trade)

    def close_until(self, now_ms: int) -> list[Candle]:
        """Close every minute that ended before `now_ms`; return them, oldest first."""
        current = now_ms - now_ms % MINUTE_MS
        if current <= self.open_minute.open_ms:
            return []
        if current - self.open_minute.open_ms > _LONGEST_GAP * MINUTE_MS:
            skipped_to = current - _LONGEST_GAP * MINUTE_MS
            self.open_minute = _flat(skipped_to, self.open_minute.close)
        closed: list[Candle] = []
        while self.open_minute.open_ms < current:
            closed.append(self.open_minute)
            self.take_closed(self.open_minute)
        return closed

    def take_closed(self, minute: Candle) -> None:
        """Append a closed minute (from the walk, or from the journal) and open the next one."""
        self.minutes.append(minute)
        self._absorb(minute)
        self.open_minute = _flat(minute.open_ms + MINUTE_MS, minute.close)

    def _absorb(self, minute: Candle) -> None:
        _extend(self.hours, minute, HOUR_MS)
        _extend(self.days, minute, DAY_MS)

    def query(
        self, interval: str, *, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Candle]:
        """At most `limit` candles by open time, oldest first; the last may still be open.

        With a start the oldest matching ones are returned, without it the newest (as exchanges do).
        """
        tier = (
            self.minutes
            if interval in _MINUTES
            else self.hours if interval in _HOURS else self.days
        )  # fmt: skip
        source: list[Candle] = list(tier)
        if start_ms is None and end_ms is None and interval != "1M":
            # The newest few don't need the whole tier; streams ask at every tick.
            source = source[-(limit + 1) * _PER_TIER[interval] :]
        if source and tier is not self.minutes:
            base = HOUR_MS if tier is self.hours else DAY_MS
            start = self.open_minute.open_ms - self.open_minute.open_ms % base
            if source[-1].open_ms == start:
                source[-1] = _merge(source[-1], self.open_minute)
            else:
                source.append(self.open_minute._replace(open_ms=start))
        else:
            source.append(self.open_minute)
        found = [
            candle
            for candle in _aggregate(source, period_open(interval), whole=True)
            if (start_ms is None or candle.open_ms >= start_ms)
            and (end_ms is None or candle.open_ms <= end_ms)
        ]
        return found[:limit] if start_ms is not None else found[-limit:]

    def since(self, start_ms: int) -> list[Candle]:
        """The minutes that opened at or after `start_ms`, the open one last."""
        return [m for m in self.minutes if m.open_ms >= start_ms] + [self.open_minute]


def _walk_back(
    close: int, end_ms: int, period_ms: int, first_hour: int, dice: random.Random
) -> list[Candle]:
    """Candles from the hour number `first_hour` up to `end_ms`, the last closing at `close`."""
    sigma = _SIGMA_PER_MINUTE * math.sqrt(period_ms / MINUTE_MS)
    # Volume is drawn so that an hour turns over a few hundred thousand quote units.
    quote_per_candle = 5_000 * _SCALE * (period_ms / MINUTE_MS)
    candles: list[Candle] = []
    open_ms = end_ms - period_ms
    while open_ms >= first_hour * HOUR_MS:
        opened = max(1, round(close * math.exp(-sigma * dice.gauss(0, 1))))
        reach = sigma * abs(dice.gauss(0, 0.5))
        high = max(opened, close, round(max(opened, close) * (1 + reach)))
        low = max(1, min(opened, close, round(min(opened, close) * (1 - reach))))
        quote = int(quote_per_candle * (0.5 + dice.random()))
        volume = quote * _SCALE // close
        count = int(120 * period_ms / MINUTE_MS)
        candles.append(
            Candle(open_ms, opened, high, low, close, volume, quote, count, volume // 2, quote // 2)
        )
        close = opened
        open_ms -= period_ms
    candles.reverse()
    return candles
