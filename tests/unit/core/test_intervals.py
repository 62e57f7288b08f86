"""TradingView's intervals and bar times, from text."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.errors import Refused
from aristobot.core.intervals import Interval, parse_bar_time, parse_interval

MOMENT = datetime(2025, 11, 20, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "canonical", "seconds"),
    [
        ("1", "1", 60),
        ("3", "3", 180),
        ("5", "5", 300),
        ("60", "60", 3_600),
        ("240", "240", 14_400),
        ("1D", "1D", 86_400),
        ("D", "1D", 86_400),
        ("1d", "1D", 86_400),
        ("W", "1W", 604_800),
        ("1W", "1W", 604_800),
        ("30S", "30S", 30),
        ("S", "1S", 1),
        ("4H", "240", 14_400),
        ("1h", "60", 3_600),
        ("M", "1M", None),
        ("12M", "12M", None),
        ("100T", "100T", None),
        (" 05 ", "5", 300),
    ],
)
def test_intervals(text: str, canonical: str, seconds: int | None) -> None:
    interval = parse_interval(text)
    assert (interval.text, interval.seconds) == (canonical, seconds)
    assert parse_interval(interval.text) == interval


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "0D", "-5", "5 minutes", "1.5", "99999", "1Y", "{{interval}}", "\u0665", "DD"],
)
def test_no_interval(text: str) -> None:
    with pytest.raises(Refused, match=r"timeframe\.period") as caught:
        parse_interval(text)
    assert caught.value.code == "bad_interval"


@pytest.mark.parametrize("text", ["5m", "m", "1m"])
def test_small_m_is_not_guessed(text: str) -> None:
    with pytest.raises(Refused, match="minutes or months"):
        parse_interval(text)


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-20T10:15:00Z",
        "2025-11-20t10:15:00z",
        "2025-11-20T10:15Z",
        "2025-11-20 10:15:00",
        "2025-11-20T10:15:00",
        "2025-11-20T10:15:00.000Z",
        "2025-11-20T10:15:00+0000",
        "2025-11-20T11:15:00+01:00",
        "2025-11-19T22:15:00-1200",
        "1763633700",
        "1763633700000",
        "1763633700000.0",
        " 1763633700 ",
    ],
)
def test_bar_times(text: str) -> None:
    moment = parse_bar_time(text)
    assert moment == MOMENT
    assert moment.utcoffset() == timedelta(0)


def test_milliseconds_are_exact() -> None:
    assert parse_bar_time("1763633700001").microsecond == 1_000
    assert parse_bar_time("2025-11-20T10:15:00.001Z").microsecond == 1_000


def test_a_date_is_its_midnight() -> None:
    assert parse_bar_time("2025-11-20") == datetime(2025, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "20251120",
        "2025-11-20T10",
        "2025-13-01",
        "2025-02-30T10:00:00Z",
        "2025-11-20T25:00:00Z",
        "2025-11-20T10:15:00+99:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1999-12-31T23:59:59Z",
        "0000000001",
        "9999999999999",
        "176363370",
        "17636337000000",
        "-1763633700",
        "1.7636337E9",
        "١٧٦٣٦٣٣٧٠٠",
        "2025-W47-4",
        "20/11/2025",
        "1" * 100_000,
    ],
)
def test_no_bar_time(text: str) -> None:
    with pytest.raises(Refused, match=r"\{\{time\}\}") as caught:
        parse_bar_time(text)
    assert caught.value.code == "bad_bar_time"
    assert len(str(caught.value)) < 200


@given(st.text(max_size=50))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        assert parse_bar_time(text).utcoffset() == timedelta(0)
    with contextlib.suppress(Refused):
        assert parse_interval(text).text


@given(
    st.datetimes(
        min_value=datetime(2000, 1, 2),  # noqa: DTZ001 - hypothesis wants naive bounds
        max_value=datetime(2199, 12, 30),  # noqa: DTZ001
        timezones=st.timezones(),
    )
)
def test_written_times_come_back(moment: datetime) -> None:
    whole = moment.astimezone(UTC).replace(microsecond=0)
    assert parse_bar_time(whole.isoformat()) == whole
    assert parse_bar_time(str(int(whole.timestamp()) * 1000).zfill(13)) == whole or (
        whole.year < 2002
    )


def test_when_a_bar_closes() -> None:
    assert parse_interval("240").close_of(MOMENT) == MOMENT + timedelta(hours=4)
    assert parse_interval("10T").close_of(MOMENT) == MOMENT
    november = datetime(2025, 11, 1, tzinfo=UTC)
    assert parse_interval("M").close_of(november) == datetime(2025, 12, 1, tzinfo=UTC)
    assert parse_interval("3M").close_of(november) == datetime(2026, 2, 1, tzinfo=UTC)
    assert parse_interval("12M").close_of(november) == datetime(2026, 11, 1, tzinfo=UTC)
    late = datetime(2026, 1, 31, tzinfo=UTC)
    assert Interval("1M", None, months=1).close_of(late) == datetime(2026, 3, 3, tzinfo=UTC)
