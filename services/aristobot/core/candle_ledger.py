"""Longer candles from minutes: one symbol's closed minutes, seen or fetched, in any order.

A longer candle comes out when the last of its minutes is there, so it is exactly what its trades
would give, however its minutes were had. Pure; which minutes there are is decided elsewhere
(`core.candle_builder` closes them, the heartbeat fetches what was missed).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aristobot.core.candles import Candle, Timeframe

#: How far back minutes are kept: a day to fill, and the longest candle before it.
KEPT = timedelta(hours=28)
LONGER = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.M1)
_MINUTE = Timeframe.M1.length


class CandleLedger:
    """One symbol's minutes. Of two for the same time the first is kept."""

    def __init__(self) -> None:
        self._minutes: dict[datetime, Candle] = {}
        #: Minutes that are there only to complete longer candles: they are told to nobody.
        self._context: set[datetime] = set()
        self._counts: dict[tuple[Timeframe, datetime], int] = {}

    def has(self, open_time: datetime) -> bool:
        """Whether the minute is there."""
        return open_time in self._minutes

    def add(self, minute: Candle, *, is_context: bool = False) -> list[Candle]:
        """Take a minute; returns it with the longer candles that are whole now, shortest first.

        `is_context`: the minute lies before what is to be told, and so does a longer candle of
        such minutes alone. A minute that is there already is told again, as it is, with the whole
        candles that it is part of: whoever asks for it has lost them.
        """
        opened = minute.open_time
        if opened in self._minutes:
            return [] if is_context else self._again(opened)
        self._minutes[opened] = minute
        if is_context:
            self._context.add(opened)
        told = [] if is_context else [minute]
        for timeframe in LONGER:
            key = (timeframe, timeframe.open_of(opened))
            count = self._counts.get(key, 0) + 1
            self._counts[key] = count
            if count == timeframe.length // _MINUTE:
                minutes = self._minutes_of(*key)
                if not all(m.open_time in self._context for m in minutes):
                    told.append(merge(minutes, timeframe))
        self._prune(opened)
        return told

    def _again(self, opened: datetime) -> list[Candle]:
        self._context.discard(opened)
        told = [self._minutes[opened]]
        for timeframe in LONGER:
            key = (timeframe, timeframe.open_of(opened))
            if self._counts.get(key) == timeframe.length // _MINUTE:
                told.append(merge(self._minutes_of(*key), timeframe))
        return told

    def _minutes_of(self, timeframe: Timeframe, opened: datetime) -> list[Candle]:
        count = timeframe.length // _MINUTE
        return [self._minutes[opened + _MINUTE * number] for number in range(count)]

    def _prune(self, newest: datetime) -> None:
        """Forget what is older than any candle that can still be completed, a few at a time."""
        for oldest in sorted(self._minutes)[:4] if len(self._minutes) > KEPT // _MINUTE else ():
            if newest - oldest > KEPT:
                del self._minutes[oldest]
                self._context.discard(oldest)
                for timeframe in LONGER:
                    self._counts.pop((timeframe, timeframe.open_of(oldest)), None)


def merge(candles: Sequence[Candle], timeframe: Timeframe) -> Candle:
    """The candle of `timeframe` that consecutive shorter ones make. There must be one at least."""
    first, last = candles[0], candles[-1]
    # A flat minute repeats the price before it; where others trade it must not set high or low.
    traded = [candle for candle in candles if not candle.is_flat] or candles[:1]
    return replace(
        first,
        timeframe=timeframe,
        open_time=timeframe.open_of(first.open_time),
        open=traded[0].open,
        high=max(candle.high for candle in traded),
        low=min(candle.low for candle in traded),
        close=last.close,
        volume=sum((candle.volume for candle in candles[1:]), first.volume),
        quote_volume=sum((candle.quote_volume for candle in candles[1:]), first.quote_volume),
        trades=sum(candle.trades for candle in candles),
    )


def aggregate(candles: Iterable[Candle], timeframe: Timeframe) -> list[Candle]:
    """Whole candles of `timeframe` from shorter ones in order; periods with holes are left out."""
    whole: list[Candle] = []
    group: list[Candle] = []
    for candle in candles:
        if group and timeframe.open_of(group[0].open_time) != timeframe.open_of(candle.open_time):
            group = []
        group.append(candle)
        if len(group) == timeframe.length // candle.timeframe.length:
            whole.append(merge(group, timeframe))
            group = []
    return whole
