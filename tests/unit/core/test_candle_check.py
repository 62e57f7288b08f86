"""Coherence of stored candles: what is missing and what differs is found, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from aristobot.core.candle_check import Finding, check
from aristobot.core.candle_ledger import CandleLedger
from aristobot.core.candles import Candle, Timeframe

START = datetime(2024, 3, 1, tzinfo=UTC)
HOURS = 5


def _candles() -> list[Candle]:
    ledger = CandleLedger()
    return [candle for n in range(HOURS * 60) for candle in ledger.add(_minute(n))]


def _minute(number: int) -> Candle:
    price = Decimal(100 + number % 7)
    opened = START + timedelta(minutes=number)
    one = Decimal(1)
    return Candle("A", Timeframe.M1, opened, price, price + 1, price - 1, price, one, price, 1)


WHOLE = _candles()
END = START + timedelta(hours=HOURS)


def test_what_is_whole_is_in_order() -> None:
    assert check(WHOLE, START, END) == []
    assert check(WHOLE, START, END + timedelta(minutes=1)) == [
        Finding(Timeframe.M1, END, is_missing=True)
    ]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, len(WHOLE) - 1), max_size=5))
def test_every_missing_candle_is_found(missing: set[int]) -> None:
    kept = [candle for number, candle in enumerate(WHOLE) if number not in missing]
    found = check(kept, START, END)
    assert {(f.timeframe, f.open_time) for f in found} == {
        (WHOLE[number].timeframe, WHOLE[number].open_time) for number in missing
    }
    assert all(finding.is_missing for finding in found)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, len(WHOLE) - 1),
    st.sampled_from(["open", "high", "low", "close", "volume", "quote_volume"]),
)
def test_a_candle_that_differs_from_its_minutes_is_found(number: int, name: str) -> None:
    wrong = replace(WHOLE[number], **{name: getattr(WHOLE[number], name) + 1000})
    found = check([*WHOLE[:number], wrong, *WHOLE[number + 1 :]], START, END)
    assert not any(finding.is_missing for finding in found)
    if wrong.timeframe is not Timeframe.M1:
        assert found == [Finding(wrong.timeframe, wrong.open_time, is_missing=False)]
    elif "volume" in name:  # a price within the longer candle's others can't be told
        assert {finding.timeframe for finding in found} >= {Timeframe.M3, Timeframe.M5}


def test_only_candles_that_lie_in_the_span_whole_are_expected() -> None:
    since = START + timedelta(minutes=59)
    assert check([c for c in WHOLE if c.open_time >= since], since, END) == []
    assert check([], since, since + timedelta(minutes=1)) == [
        Finding(Timeframe.M1, since, is_missing=True)
    ]
