"""Closed candles from `/api/v3/klines` (exchange reference 2.4): reading, and asking for enough.

A row is closed when a later one exists: no clock is asked, so a market whose time is not ours
(the simulator's, sped up) is read the same way. So the last row of every answer is left out, and
one row more than wanted is asked for. The exchange has no 10m; two 5m make one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from aristobot.core.candle_builder import to_ms
from aristobot.core.candle_ledger import aggregate
from aristobot.core.candles import Candle, Timeframe
from aristobot.exchanges.binance.parsing import Unreadable, decimal, moment, reads

#: The exchange's own limit of rows in an answer.
MOST_ROWS = 1000
_NATIVE: Mapping[Timeframe, Timeframe] = {Timeframe.M10: Timeframe.M5}

#: Asks once: parameters and the timeframe of the rows, which come oldest first.
Page = Callable[[Mapping[str, str], Timeframe], Awaitable[tuple[Candle, ...]]]


@reads
def candles(body: Any, symbol: str, timeframe: Timeframe) -> tuple[Candle, ...]:
    """All rows of an answer, the open candle too. Raises `Unreadable`."""
    found = tuple(_candle(row, symbol, timeframe) for row in body)
    for before, after in pairwise(found):
        if after.open_time <= before.open_time:
            raise Unreadable("candles out of order")
    return found


def _candle(row: Any, symbol: str, timeframe: Timeframe) -> Candle:
    """[open time, open, high, low, close, volume, close time, quote volume, trades, ...]"""
    return Candle(
        symbol=symbol,
        timeframe=timeframe,
        open_time=moment(row[0]),
        open=decimal(row[1]),
        high=decimal(row[2]),
        low=decimal(row[3]),
        close=decimal(row[4]),
        volume=decimal(row[5]),
        quote_volume=decimal(row[7]),
        trades=int(row[8]),
    )


async def fetch(
    page: Page,
    symbol: str,
    timeframe: Timeframe,
    *,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> tuple[Candle, ...]:
    """What `ExchangeClient.candles` promises, in as many requests as it takes."""
    native = _NATIVE.get(timeframe, timeframe)
    each = timeframe.length // native.length
    # Candles open at multiples of their length: any other moment means the next of these.
    end = _next_open(end, timeframe) if end is not None else None
    if start is not None:
        start = _next_open(start, timeframe)
        rows = await _forward(page, symbol, native, start, end, limit * each)
        return tuple(aggregate(rows, timeframe) if each > 1 else rows)[:limit]
    # A 10m that is half closed at the newest end takes room, so one more is asked for.
    rows = await _backward(page, symbol, native, end, (limit + 1) * each if each > 1 else limit)
    return tuple(aggregate(rows, timeframe) if each > 1 else rows)[-limit:]


_EPOCH = moment(0)


def _next_open(at: datetime, timeframe: Timeframe) -> datetime:
    """The first opening at or after `at`."""
    return -((_EPOCH - at) // timeframe.length) * timeframe.length + _EPOCH


async def _forward(
    page: Page,
    symbol: str,
    timeframe: Timeframe,
    start: datetime,
    end: datetime | None,
    count: int,
) -> list[Candle]:
    """The oldest `count` closed candles from `start` on."""
    found: list[Candle] = []
    while len(found) < count and (end is None or start < end):
        asked = min(count - len(found) + 1, MOST_ROWS)
        params = _params(symbol, timeframe, asked, end)
        rows = await page({**params, "startTime": str(to_ms(start))}, timeframe)
        closed = [row for row in rows[:-1] if end is None or row.open_time < end]
        found += closed
        if len(rows) < asked or len(closed) < len(rows) - 1:
            break
        start = rows[-1].open_time
    return found[:count]


async def _backward(
    page: Page, symbol: str, timeframe: Timeframe, end: datetime | None, count: int
) -> list[Candle]:
    """The newest `count` closed candles that opened before `end`."""
    found: list[Candle] = []
    while len(found) < count:
        asked = min(count - len(found) + 1, MOST_ROWS)
        rows = await page(_params(symbol, timeframe, asked, end), timeframe)
        closed = [row for row in rows[:-1] if end is None or row.open_time < end]
        found = closed + found
        if len(rows) < asked or not closed:
            break
        end = closed[0].open_time
    return found[-count:]


def _params(symbol: str, timeframe: Timeframe, rows: int, end: datetime | None) -> dict[str, str]:
    params = {"symbol": symbol, "interval": timeframe.value, "limit": str(rows)}
    if end is not None:
        # The candle at `end` is asked for too: that it exists shows that the ones before closed.
        last = end + timeframe.length - timedelta(milliseconds=1)
        params["endTime"] = str(to_ms(last))
    return params
