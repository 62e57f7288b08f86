"""Candles from trades: the exchange's own to the last digit, and nothing made up where it can't be.

The reference of the property tests is a few lines that sort all trades into periods.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aristobot.core.candle_builder import (
    GRACE_MS,
    MINUTE_MS,
    CandleBuilder,
    Doubtful,
    Missed,
    Outcome,
    Trade,
    from_ms,
    to_ms,
)
from aristobot.core.candle_ledger import LONGER, CandleLedger, aggregate
from aristobot.core.candles import Candle, Timeframe
from tests import recorded

D = Decimal
START = to_ms(datetime(2024, 3, 1, tzinfo=UTC))


def _trade(id_: int, at_ms: int, price: str = "1", quantity: str = "1", symbol: str = "A") -> Trade:
    return Trade(symbol, id_, D(price), D(quantity), START + at_ms, START + at_ms)


def _minute(number: int) -> datetime:
    return from_ms(START + number * MINUTE_MS)


def _followed(*symbols: str) -> CandleBuilder:
    """A builder that has seen the market since before START; the minute before it was missed."""
    builder = CandleBuilder()
    builder.follow(symbols or ("A",), "start")
    other = Trade("other", 1, D(1), D(1), START, START - MINUTE_MS)
    builder.take(other)
    assert builder.take(other._replace(event_ms=START + GRACE_MS))
    return builder


def _feed(builder: CandleBuilder, *trades: Trade) -> list[Outcome]:
    return [outcome for trade in trades for outcome in builder.take(trade)]


@recorded.needs_recording
@pytest.mark.parametrize("timeframe", Timeframe)
def test_recorded_trades_give_the_exchanges_own_candles(timeframe: Timeframe) -> None:
    trades = recorded.recorded_trades()
    builder, ledger = CandleBuilder(), CandleLedger()
    builder.follow([recorded.SYMBOL], "start")
    # Seen since the day before, so that no minute is incomplete.
    builder.take(trades[0]._replace(symbol="other", event_ms=trades[0].time_ms - 86_400_000))
    made: dict[datetime, Candle] = {}
    for outcome in _feed(builder, *trades):
        if isinstance(outcome, Missed):  # flat minutes before the first trade ever have no price
            assert outcome.to_time <= from_ms(trades[0].time_ms)
            continue
        assert isinstance(outcome, Candle)
        made |= {c.open_time: c for c in ledger.add(outcome) if c.timeframe is timeframe}
    wanted = recorded.expected(timeframe)
    ended = Timeframe.M1.open_of(from_ms(trades[-1].time_ms))
    wanted = {
        opened: prices
        for opened, prices in wanted.items()
        # A candle is there once its last minute has closed and its first was seen.
        if opened + timeframe.length <= ended
    }
    assert len(wanted) > 10
    shown = {o: (c.open, c.high, c.low, c.close, c.volume) for o, c in made.items() if c.trades}
    assert shown == wanted
    counts = Counter(timeframe.open_of(from_ms(trade.time_ms)) for trade in trades)
    assert {o: c.trades for o, c in made.items() if c.trades} == {o: counts[o] for o in wanted}
    flat = [candle for candle in made.values() if candle.is_flat]
    assert all(c.open == c.high == c.low == c.close and c.volume == 0 for c in flat)
    if timeframe is Timeframe.M1:
        assert flat, "the recording has minutes without a trade"


_GAPS = st.one_of(st.integers(0, 20_000), st.integers(0, 5 * MINUTE_MS))
_TRADES = st.lists(
    st.tuples(
        _GAPS,
        st.decimals("0.00000001", "100000", places=8),
        st.decimals("0.00000001", "1000", places=8),
    ),
    min_size=1,
    max_size=120,
)


def _reference(trades: list[Trade], timeframe: Timeframe) -> dict[datetime, tuple[object, ...]]:
    groups: dict[datetime, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(timeframe.open_of(from_ms(trade.time_ms)), []).append(trade)
    return {
        opened: (
            rows[0].price,
            max(t.price for t in rows),
            min(t.price for t in rows),
            rows[-1].price,
            sum(t.quantity for t in rows),
            sum(t.price * t.quantity for t in rows),
            len(rows),
        )
        for opened, rows in groups.items()
    }


@settings(max_examples=60, deadline=None)
@given(_TRADES)
def test_every_timeframe_is_what_its_trades_give(steps: list[tuple[int, D, D]]) -> None:
    trades, at = [], 0
    for number, (gap, price, quantity) in enumerate(steps):
        at += gap
        trades.append(Trade("A", number + 1, price, quantity, START + at, START + at))
    builder, ledger = _followed(), CandleLedger()
    end = START + at - at % (240 * MINUTE_MS) + 240 * MINUTE_MS
    closing = Trade("other", 2, D(1), D(1), end, end + GRACE_MS)
    made: dict[Timeframe, dict[datetime, Candle]] = {timeframe: {} for timeframe in Timeframe}
    first = Timeframe.M1.open_of(from_ms(trades[0].time_ms))
    for outcome in _feed(builder, *trades, closing):
        if isinstance(outcome, Missed):
            assert outcome.to_time <= first, "only what comes before the first price is missed"
            opened = outcome.from_time
            while opened < outcome.to_time:  # what a fetch would bring: nothing was traded
                ledger.add(_flat(opened), is_context=True)
                opened += timedelta(minutes=1)
            continue
        assert isinstance(outcome, Candle)
        for candle in ledger.add(outcome):
            made[candle.timeframe][candle.open_time] = candle
    for timeframe in Timeframe:
        shown = {
            o: (c.open, c.high, c.low, c.close, c.volume, c.quote_volume, c.trades)
            for o, c in made[timeframe].items()
            if c.trades
        }
        assert shown == _reference(trades, timeframe)
        opens = sorted(made[timeframe])
        assert opens == [opens[0] + timeframe.length * number for number in range(len(opens))], (
            "without a hole"
        )


def _flat(opened: datetime) -> Candle:
    nothing = D(0)
    one = D(1)
    return Candle("A", Timeframe.M1, opened, one, one, one, one, nothing, nothing, 0)


def test_a_minute_without_trades_closes_flat_at_the_price_before_it() -> None:
    builder = _followed()
    closed = _feed(builder, _trade(1, 100, "5"), _trade(2, 3 * MINUTE_MS, "7"))
    candles = [outcome for outcome in closed if isinstance(outcome, Candle)]
    assert [c.open_time for c in candles] == [_minute(0), _minute(1), _minute(2)]
    assert [c.trades for c in candles] == [1, 0, 0]
    assert candles[2] == replace(candles[1], open_time=_minute(2))
    assert (candles[1].open, candles[1].high, candles[1].low, candles[1].close) == (D(5),) * 4
    assert candles[1].volume == candles[1].quote_volume == 0


def test_the_markets_clock_closes_a_symbol_that_is_silent_after_the_grace() -> None:
    builder = _followed("A", "B")
    _feed(builder, _trade(1, 100), _trade(1, 200, symbol="B"))
    assert not _feed(builder, _trade(2, MINUTE_MS - 1, symbol="B"))
    own = _feed(builder, _trade(3, MINUTE_MS, symbol="B"))
    assert [outcome.symbol for outcome in own] == ["B"], "its own trade closes it at once"
    assert not _feed(builder, _trade(4, MINUTE_MS + GRACE_MS - 1, symbol="B"))
    # Another symbol's stream may be a little late: what still comes is counted.
    assert not _feed(builder, _trade(2, MINUTE_MS - 1, "9"))
    (silent,) = _feed(builder, _trade(5, MINUTE_MS + GRACE_MS, symbol="B"))
    assert isinstance(silent, Candle)
    assert (silent.symbol, silent.trades, silent.high) == ("A", 2, D(9))


def test_only_event_time_moves_the_clock() -> None:
    builder = _followed("A", "B")
    _feed(builder, _trade(1, 100))
    late_told = Trade("B", 1, D(1), D(1), START + MINUTE_MS, START + MINUTE_MS + GRACE_MS)
    assert [type(outcome) for outcome in _feed(builder, late_told)] == [Candle, Missed]
    assert builder.clock_ms == START + MINUTE_MS + GRACE_MS


def test_the_first_partial_minute_is_missed_and_not_made_up() -> None:
    builder = CandleBuilder()
    builder.follow(["A"], "start")
    outcomes = _feed(builder, _trade(10, 30_000), _trade(11, MINUTE_MS), _trade(12, 2 * MINUTE_MS))
    assert outcomes[0] == Missed("A", _minute(0), _minute(1), "start")
    assert isinstance(outcomes[1], Candle)
    assert outcomes[1].open_time == _minute(1)


def test_a_lost_connection_costs_the_minutes_from_before_to_after_it() -> None:
    builder = _followed()
    _feed(builder, _trade(1, 0), _trade(2, MINUTE_MS + 5))
    builder.follow(["A"], "lost")
    outcomes = _feed(
        builder,
        _trade(9, 4 * MINUTE_MS + 30_000, "3"),
        _trade(10, 5 * MINUTE_MS),
        _trade(11, 6 * MINUTE_MS),
    )
    assert outcomes[0] == Missed("A", _minute(1), _minute(5), "lost")
    assert [type(outcome) for outcome in outcomes] == [Missed, Candle]


def test_a_silent_symbol_is_not_flat_at_a_price_from_before_the_interruption() -> None:
    builder = _followed()
    _feed(builder, _trade(1, 0, "5"), _trade(2, MINUTE_MS, "5"))
    builder.follow(["A"], "lost")
    other = [
        Trade("other", n, D(1), D(1), START + n * MINUTE_MS, START + n * MINUTE_MS + GRACE_MS)
        for n in (3, 4, 5)
    ]
    outcomes = _feed(builder, *other)
    assert outcomes == [
        Missed("A", _minute(1), _minute(4), "lost"),
        Missed("A", _minute(4), _minute(5), "no price is known yet"),
    ]
    builder.learn_close("A", _minute(3), D(99))  # not the minute before the open one: of no use
    builder.learn_close("A", _minute(4), D(7))
    (flat,) = _feed(builder, _trade(9, 6 * MINUTE_MS, "8"))
    assert isinstance(flat, Candle)
    assert (flat.open_time, flat.close, flat.trades) == (_minute(5), D(7), 0)


def test_a_jump_of_trade_ids_costs_the_minutes_between() -> None:
    builder = _followed()
    outcomes = _feed(
        builder,
        _trade(1, 0),
        _trade(2, MINUTE_MS),
        _trade(5, 3 * MINUTE_MS),
        _trade(6, 4 * MINUTE_MS),
        _trade(7, 5 * MINUTE_MS),
    )
    assert [type(outcome) for outcome in outcomes] == [Candle, Missed, Candle]
    assert outcomes[1] == Missed("A", _minute(1), _minute(4), "trade ids jumped")


def test_a_jump_after_a_flat_minute_was_told_is_said() -> None:
    builder = _followed("A", "B")
    _feed(builder, _trade(1, 0), _trade(1, MINUTE_MS + GRACE_MS, symbol="B"))
    told = _feed(builder, _trade(3, MINUTE_MS + 30_000))
    assert told == [Doubtful("A", _minute(0), "trade ids jumped after it closed")]


def test_a_trade_that_comes_after_its_minute_closed_is_said_and_not_counted_elsewhere() -> None:
    builder = _followed()
    _feed(builder, _trade(1, 0), _trade(2, MINUTE_MS, "2"))
    assert _feed(builder, _trade(3, 59_999, "50")) == [
        Doubtful("A", _minute(0), "a trade came after it had closed")
    ]
    (closed,) = _feed(builder, _trade(4, 2 * MINUTE_MS))
    assert isinstance(closed, Candle)
    assert (closed.high, closed.trades) == (D(2), 1)


def test_what_two_connections_both_deliver_counts_once() -> None:
    builder = _followed()
    trades = [_trade(n, n * 10) for n in range(1, 6)]
    (closed,) = _feed(builder, *trades, *trades[2:], _trade(6, MINUTE_MS))
    assert isinstance(closed, Candle)
    assert closed.trades == 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30_000), min_size=5, max_size=60),
    st.sets(st.integers(0, 59), max_size=4),
    st.sets(st.integers(0, 59), max_size=20),
)
def test_a_told_candle_lacks_no_trade_whatever_is_lost(
    gaps: list[int], interruptions: set[int], lost: set[int]
) -> None:
    """Every minute is either whole or missed; and each is one of the two, once."""
    at, trades = 0, []
    for number, gap in enumerate(gaps):
        at += gap
        trades.append(_trade(number + 1, at, str(number + 1)))
    lost = _noticeable(lost, interruptions, len(trades))
    builder = _followed()
    outcomes: list[Outcome] = []
    for number, trade in enumerate(trades):
        if number in interruptions:
            builder.follow(["A"], "lost")
        if number not in lost:
            outcomes += builder.take(trade)
    doubtful = {o.open_time for o in outcomes if isinstance(o, Doubtful)}
    whole = _reference(trades, Timeframe.M1)
    covered: list[datetime] = []
    for outcome in outcomes:
        if isinstance(outcome, Missed):
            minutes = (outcome.to_time - outcome.from_time) // timedelta(minutes=1)
            covered += [outcome.from_time + timedelta(minutes=n) for n in range(minutes)]
        elif isinstance(outcome, Candle):
            covered.append(outcome.open_time)
            shown = (outcome.open, outcome.high, outcome.low, outcome.close)
            expected = whole.get(outcome.open_time)
            # What was lost at the very end is shown by a later trade alone, and there is none.
            is_last = outcome.open_time >= _last_seen(trades, lost)
            if outcome.trades and outcome.open_time not in doubtful and not is_last:
                assert expected is not None
                assert (*shown, outcome.trades) == (*expected[:4], expected[6])
    assert len(covered) == len(set(covered))
    assert covered == sorted(covered)


def _noticeable(lost: set[int], interruptions: set[int], count: int) -> set[int]:
    """Without those before the first trade of a connection: there is no id yet to miss them by.

    The connection vouches for them: it delivers all that comes after it was made.
    """
    kept, has_seen = set(), False
    for number in range(count):
        has_seen = has_seen and number not in interruptions
        if number not in lost:
            has_seen = True
        elif has_seen:
            kept.add(number)
    return kept


def _last_seen(trades: list[Trade], lost: set[int]) -> datetime:
    seen = [trade for number, trade in enumerate(trades) if number not in lost]
    return Timeframe.M1.open_of(from_ms(seen[-1].time_ms)) if seen else _minute(0)


def test_longer_candles_wait_for_a_missed_minute_and_come_whole() -> None:
    ledger = CandleLedger()
    minutes = [
        Candle("A", Timeframe.M1, _minute(n), D(n + 1), D(n + 9), D(n + 1), D(n + 2), D(2), D(3), 1)
        for n in range(6)
    ]
    told = [ledger.add(minute) for minute in minutes if minute is not minutes[1]]
    assert [c.timeframe for candles in told for c in candles if c.timeframe in LONGER] == ["3m"]
    late = ledger.add(minutes[1])
    assert [c.timeframe for c in late] == ["1m", "3m", "5m"]
    assert late[1] == aggregate(minutes[:3], Timeframe.M3)[0]
    assert (late[2].open, late[2].high, late[2].low, late[2].close) == (D(1), D(13), D(1), D(6))
    assert (late[2].volume, late[2].quote_volume, late[2].trades) == (D(10), D(15), 5)


def test_minutes_of_before_are_not_told_but_complete_what_is() -> None:
    ledger = CandleLedger()
    assert [ledger.add(_flat(_minute(n)), is_context=True) for n in range(4)] == [[]] * 4
    assert [c.timeframe for c in ledger.add(_flat(_minute(4)))] == ["1m", "5m"]


def test_a_minute_that_is_asked_for_again_is_told_again_with_what_it_is_part_of() -> None:
    ledger = CandleLedger()
    first = [candle for n in range(5) for candle in ledger.add(_flat(_minute(n)))]
    again = ledger.add(_flat(_minute(1)))
    assert [c.timeframe for c in again] == ["1m", "3m", "5m"]
    assert set(again) <= set(first)


def test_days_of_minutes_do_not_stay_in_memory() -> None:
    ledger = CandleLedger()
    for number in range(3 * 1440):
        ledger.add(_flat(_minute(number)))
    assert len(ledger._minutes) <= 28 * 60 + 1
    assert not ledger.has(_minute(0))
