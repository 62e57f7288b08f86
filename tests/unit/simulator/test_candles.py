"""Candles: every interval is gapless, aligned and made of its minutes."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aristobot.simulator.binance.market_streams import MarketStreams, _Listener
from aristobot.simulator.candles import (
    DAY_MS,
    HOUR_MS,
    INTERVALS,
    MINUTE_MS,
    WEEK_MS,
    CandleHistory,
    close_ms,
    from_units,
    to_units,
)
from aristobot.simulator.matching import Exchange
from aristobot.simulator.settings import SimulatorSettings
from tests.unit.simulator.test_exchange import StillClock

NOW = 1_700_000_123_456


@pytest.mark.parametrize("now", [NOW, NOW - NOW % DAY_MS, NOW - NOW % HOUR_MS - 1])
@pytest.mark.parametrize("interval", INTERVALS)
def test_the_invented_past_is_gapless(interval: str, now: int) -> None:
    history = CandleHistory(Decimal(100), now)
    history.invent_past(random.Random(1))
    rows = history.query(interval, start_ms=None, end_ms=None, limit=1_000)
    assert len(rows) > 10
    for row, following in itertools.pairwise(rows):
        assert close_ms(interval, row.open_ms) + 1 == following.open_ms
        assert row.close == following.open
        assert row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high
    assert rows[-1].open_ms <= now <= close_ms(interval, rows[-1].open_ms)
    assert from_units(rows[-1].close) == 100
    everything = history.query(interval, start_ms=0, end_ms=None, limit=10_000)
    assert rows == everything[-len(rows) :]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    history = CandleHistory(Decimal(100), NOW)
    history.invent_past(random.Random(1))
    week = history.query("1w", start_ms=None, end_ms=None, limit=1)[0]
    assert week.open_ms == 1_699_833_600_000  # 2023-11-13, a Monday
    assert close_ms("1w", week.open_ms) == week.open_ms + WEEK_MS - 1
    month = history.query("1M", start_ms=None, end_ms=None, limit=1)[0]
    assert month.open_ms == 1_698_796_800_000  # 2023-11-01
    assert close_ms("1M", month.open_ms) == 1_701_388_800_000 - 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 500)), min_size=1, max_size=60))
def test_candles_are_what_the_trades_make_of_them(trades: list[tuple[int, int]]) -> None:
    now, volume = NOW - NOW % DAY_MS, 0  # so that no interval's first candle lacks its start
    history = CandleHistory(Decimal(50), now)
    for wait, price in trades:
        now += wait
        history.close_until(now)
        history.add_trade(Decimal(price), Decimal(2), is_taker_buy=price % 2 == 0, now_ms=now)
        volume += 2
    for interval in ("1m", "5m", "1h", "1d"):
        rows = history.query(interval, start_ms=0, end_ms=None, limit=10_000)
        assert sum(row.volume for row in rows) == to_units(Decimal(volume))
        assert sum(row.trades for row in rows) == len(trades)
        assert rows[-1].close == to_units(Decimal(trades[-1][1]))
        for row, following in itertools.pairwise(rows):
            assert close_ms(interval, row.open_ms) + 1 == following.open_ms


def test_a_long_gap_is_bridged_with_flat_candles() -> None:
    history = CandleHistory(Decimal(50), NOW)
    closed = history.close_until(NOW + 30 * DAY_MS)
    assert len(closed) == 1_500
    assert {candle.volume for candle in closed} == {0}
    assert (
        history.open_minute.open_ms <= NOW + 30 * DAY_MS < history.open_minute.open_ms + MINUTE_MS
    )


def test_a_closed_candle_is_streamed_once() -> None:
    clock = StillClock()
    exchange = Exchange(SimulatorSettings(), clock)
    streams = MarketStreams(exchange)
    exchange.trade_listeners.append(streams.take)
    listener = _Listener(is_combined=False)
    listener.add(["btcusdt@kline_1m"])
    streams._listeners.add(listener)
    for _ in range(400):
        clock.ms += 500
        exchange.tick()
    sent = []
    while not listener.connection.outgoing.empty():
        sent.append(str(listener.connection.outgoing.get_nowait()))
    assert sum('"x":true' in message for message in sent) == 3
    assert len(sent) == 403
