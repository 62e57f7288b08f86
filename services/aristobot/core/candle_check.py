"""Whether stored candles are coherent: none is missing, and longer ones equal their minutes.

Pure: the candles of one symbol go in, what is wrong comes out. Reading them and repairing is the
heartbeat's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from aristobot.core.candle_ledger import LONGER, merge
from aristobot.core.candles import Candle, Timeframe

_MINUTE = Timeframe.M1.length


@dataclass(frozen=True, slots=True)
class Finding:
    """One candle that is missing, or differs from what its minutes make."""

    timeframe: Timeframe
    open_time: datetime
    is_missing: bool

    @property
    def close_time(self) -> datetime:
        return self.open_time + self.timeframe.length

    def __str__(self) -> str:
        state = "is missing" if self.is_missing else "differs from its minutes"
        return f"{self.timeframe} of {self.open_time:%Y-%m-%d %H:%M} {state}"


def check(candles: Iterable[Candle], since: datetime, until: datetime) -> list[Finding]:
    """What is wrong with the candles of [since, until), oldest first.

    Expected is every candle that lies in it whole, of every timeframe.
    """
    found = {(candle.timeframe, candle.open_time): candle for candle in candles}
    findings: list[Finding] = []
    for timeframe in Timeframe:
        opened = first_open(timeframe, since)
        while opened + timeframe.length <= until:
            candle = found.get((timeframe, opened))
            if candle is None:
                findings.append(Finding(timeframe, opened, is_missing=True))
            elif timeframe in LONGER and not _equals_its_minutes(candle, found):
                findings.append(Finding(timeframe, opened, is_missing=False))
            opened += timeframe.length
    return sorted(findings, key=lambda finding: (finding.open_time, finding.close_time))


def first_open(timeframe: Timeframe, since: datetime) -> datetime:
    """The first time at or after `since` at which a candle opens."""
    opened = timeframe.open_of(since)
    return opened if opened == since else opened + timeframe.length


def _equals_its_minutes(candle: Candle, found: dict[tuple[Timeframe, datetime], Candle]) -> bool:
    """True as well when a minute is missing: that is a finding of its own."""
    count = candle.timeframe.length // _MINUTE
    opens = [candle.open_time + timedelta(minutes=number) for number in range(count)]
    minutes = [found[Timeframe.M1, opened] for opened in opens if (Timeframe.M1, opened) in found]
    return len(minutes) < count or merge(minutes, candle.timeframe) == candle
