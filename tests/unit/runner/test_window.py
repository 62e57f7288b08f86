"""The window a strategy sees: ordered, bounded, and never with a hole in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.candles import Candle, Timeframe
from aristobot.runner.window import Window

_START = datetime(2026, 1, 1, tzinfo=UTC)


def candle(number: int, close: str = "1") -> Candle:
    price = Decimal(close)
    return Candle(
        symbol="BTCUSDT",
        timeframe=Timeframe.M5,
        open_time=_START + timedelta(minutes=5 * number),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=Decimal(1),
        quote_volume=price,
        trades=1,
    )


def close_of(number: int) -> datetime:
    return candle(number).close_time


@given(st.permutations(range(12)), st.integers(1, 12))
def test_in_whatever_order_they_come_the_newest_stay_in_order(
    numbers: list[int], size: int
) -> None:
    window = Window(Timeframe.M5, size)
    for number in numbers:
        window.add([candle(number)])
    # What fell out of a full window may have been newer than what came after it into the hole.
    held = window.until(close_of(11))
    assert [each.open_time for each in held] == sorted(each.open_time for each in held)
    assert window.newest == candle(11)
    assert len(window) <= size


@given(st.sets(st.integers(0, 20), min_size=1), st.integers(0, 20))
def test_what_is_shown_has_no_hole(numbers: set[int], last: int) -> None:
    window = Window(Timeframe.M5, 50)
    window.add(candle(number) for number in numbers)
    held = window.until(close_of(last))
    shown = [round((each.open_time - _START) / timedelta(minutes=5)) for each in held]
    assert shown == list(range(last - len(shown) + 1, last + 1))
    assert last - len(shown) not in numbers
    expected_whole = last in numbers and min(numbers) == last - len(shown) + 1
    assert window.is_whole(close_of(last)) == expected_whole


def test_the_newer_word_on_a_candle_counts() -> None:
    window = Window(Timeframe.M5, 3)
    window.add([candle(0), candle(1)])
    window.add([candle(1, "2")])
    assert window.until(close_of(1))[-1].close == 2


def test_nothing_is_not_whole() -> None:
    window = Window(Timeframe.M5, 3)
    assert window.newest is None
    assert not window.is_whole(close_of(0))
    assert window.until(close_of(0)) == ()
