"""TradingView's two notions of time: a chart's interval and a bar's time, from their texts.

Used by `core.alert`. Intervals are written as in Pine's `timeframe.period`: minutes are a bare
number (`5`, `240`), seconds, days, weeks, months and ticks carry S, D, W, M, T, and a letter alone
means one of it. Deliberately not here: which intervals a heartbeat or a broker supports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aristobot.core.errors import Refused

_INTERVAL = re.compile(r"([0-9]{0,4})([SHDWMTR]?)", re.ASCII)
_UNIT_SECONDS = {"S": 1, "": 60, "H": 3_600, "D": 86_400, "W": 604_800}
_EPOCH = re.compile(r"([0-9]{10}|[0-9]{13})(?:\.0+)?", re.ASCII)
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)
_LONGEST_TEXT = 40
_FIRST_YEAR, _LAST_YEAR = 2000, 2199


@dataclass(frozen=True, slots=True)
class Interval:
    """How long a bar lasts. `text` is canonical, so `D` and `1D` (or `1H` and `60`) are equal.

    `seconds` is None for months, whose length varies (`months` then counts them), and for ticks
    and range bars, which have no length at all.
    """

    text: str
    seconds: int | None
    months: int = 0

    def close_of(self, bar_time: datetime) -> datetime:
        """When the bar that opened at `bar_time` closes; `bar_time` itself if that is unknown."""
        if self.seconds is not None:
            return bar_time + timedelta(seconds=self.seconds)
        if not self.months:
            return bar_time
        years, month_index = divmod(bar_time.month - 1 + self.months, 12)
        # Months are added to a month's first day; a bar of months always opens there.
        first = bar_time.replace(day=1, year=bar_time.year + years, month=month_index + 1)
        return first + timedelta(days=bar_time.day - 1)


def parse_interval(text: str) -> Interval:
    """Read a `timeframe.period` text. Raises `Refused("bad_interval")`.

    Letter case doesn't matter, but for `5m`: that is 5 minutes to some and 5 months to others.
    """
    stripped = text.strip()
    match = _INTERVAL.fullmatch(stripped.upper())
    number, unit = match.groups() if match else ("", "")
    count = int(number) if number else 1
    if not stripped or match is None or (not number and not unit) or count < 1:
        raise Refused(
            "bad_interval",
            f"the interval {stripped[:_LONGEST_TEXT]!r} is unknown; send timeframe.period, like "
            "5 or 60 (minutes), 30S, 1D, 1W or 1M",
        )
    if stripped.endswith("m"):
        raise Refused(
            "bad_interval",
            f"the interval {stripped!r} may mean minutes or months; write {count} for minutes "
            f"or {count}M for months",
        )
    if unit == "M":
        return Interval(f"{count}M", None, months=count)
    if unit in ("T", "R"):
        return Interval(f"{count}{unit}", None)
    if unit == "H":
        return Interval(str(count * 60), count * 3_600)
    return Interval(f"{count}{unit}", count * _UNIT_SECONDS[unit])


def parse_bar_time(text: str) -> datetime:
    """Read ISO text, epoch seconds (10 digits) or milliseconds (13) as aware UTC.

    Text without a zone is UTC, as TradingView's own `{{time}}` is; a date alone is its midnight.
    Raises `Refused("bad_bar_time")`, also outside the years 2000 to 2199.
    """
    stripped = text.strip()
    if len(stripped) > _LONGEST_TEXT:
        raise _bad_bar_time(stripped)
    epoch = _EPOCH.fullmatch(stripped)
    if epoch:
        digits = epoch.group(1)
        milliseconds = int(digits) * (1 if len(digits) == 13 else 1_000)
        # fromtimestamp() takes a float; adding keeps the milliseconds exact.
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    elif _ISO.fullmatch(stripped.upper()):
        try:
            moment = datetime.fromisoformat(stripped.upper())
        except ValueError:
            raise _bad_bar_time(stripped) from None
    else:
        raise _bad_bar_time(stripped)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise _bad_bar_time(stripped)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _bad_bar_time(text: str) -> Refused:
    return Refused(
        "bad_bar_time",
        f"the bar time {text[:_LONGEST_TEXT]!r} is not a time; send str.tostring(time), "
        "{{time}} or ISO text like 2025-11-20T10:15:00Z",
    )
