"""Klines: only closed candles, as many as asked for, whatever the pages; 10m of two 5m."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.candle_builder import from_ms, to_ms
from aristobot.core.candle_ledger import aggregate
from aristobot.core.candles import Candle, Timeframe
from aristobot.exchanges.binance import klines
from aristobot.exchanges.binance.parsing import Unreadable

START = datetime(2024, 3, 1, tzinfo=UTC)
ROW = [1709251200000, "1.5", "2.0", "1.0", "1.75", "10", 1709251259999, "17.5", 3, "5", "8", "0"]


class Exchange:
    """Answers as the documented endpoint: rows by open time, the open candle last."""

    def __init__(self, timeframe: Timeframe, now: datetime) -> None:
        self.timeframe = timeframe
        self.now = now
        self.asked: list[Mapping[str, str]] = []

    async def page(self, params: Mapping[str, str], timeframe: Timeframe) -> tuple[Candle, ...]:
        self.asked.append(params)
        assert params["interval"] == timeframe.value != "10m"
        limit = int(params["limit"])
        assert 1 <= limit <= 1000
        opens = _opens(timeframe, self.now)
        if "endTime" in params:
            opens = [o for o in opens if o <= from_ms(int(params["endTime"]))]
        if "startTime" in params:
            opens = [o for o in opens if o >= from_ms(int(params["startTime"]))][:limit]
        return tuple(_candle(timeframe, o) for o in opens[-limit:])


def _opens(timeframe: Timeframe, now: datetime) -> list[datetime]:
    count = (now - START) // timeframe.length + 1
    return [START + timeframe.length * number for number in range(count)]


def _candle(timeframe: Timeframe, opened: datetime) -> Candle:
    price = Decimal(to_ms(opened) // 60_000 % 1000 + 1)
    return Candle("A", timeframe, opened, price, price, price, price, price, price, 1)


@given(
    timeframe=st.sampled_from([Timeframe.M1, Timeframe.M5, Timeframe.M10, Timeframe.H1]),
    minutes=st.integers(0, 2600),
    start=st.none() | st.integers(-30, 2700),
    end=st.none() | st.integers(-30, 2700),
    limit=st.integers(1, 1000),
)
async def test_exactly_the_closed_candles_that_were_asked_for(
    timeframe: Timeframe, minutes: int, start: int | None, end: int | None, limit: int
) -> None:
    now = START + timedelta(minutes=minutes, seconds=30)
    exchange = Exchange(timeframe, now)
    since = None if start is None else START + timedelta(minutes=start)
    until = None if end is None else START + timedelta(minutes=end)
    found = await klines.fetch(exchange.page, "A", timeframe, start=since, end=until, limit=limit)
    if timeframe is Timeframe.M10:
        native = [_candle(Timeframe.M5, o) for o in _opens(Timeframe.M5, now)][:-1]
        closed = aggregate(native, timeframe)
    else:
        closed = [_candle(timeframe, o) for o in _opens(timeframe, now)][:-1]
    wanted = [
        candle
        for candle in closed
        if (since is None or candle.open_time >= since)
        and (until is None or candle.open_time < until)
    ]
    assert list(found) == (wanted[:limit] if since is not None else wanted[-limit:])
    assert len(exchange.asked) <= 5


def test_a_row_is_read_to_the_last_digit() -> None:
    (candle,) = klines.candles([ROW], "A", Timeframe.M1)
    numbers = [Decimal(text) for text in ("1.5", "2.0", "1.0", "1.75", "10", "17.5")]
    assert candle == Candle("A", Timeframe.M1, START, *numbers, 3)


@pytest.mark.parametrize(
    "body",
    [[ROW[:5]], [["x", *ROW[1:]]], [[*ROW[:4], "NaN", *ROW[5:]]], [ROW, ROW], {"code": 1}, 5],
)
def test_what_is_no_list_of_candles_is_not_read(body: object) -> None:
    with pytest.raises(Unreadable):
        klines.candles(body, "A", Timeframe.M1)


def test_candles_are_in_order() -> None:
    later = [ROW[0] + 60_000, *ROW[1:]]
    found = klines.candles([ROW, later], "A", Timeframe.M1)
    assert all(a.close_time == b.open_time for a, b in pairwise(found))
