"""Closes gaps: what a replica missed is fetched and told late, until it is there.

Every gap has a task of its own, so a symbol that can't be fetched holds up no other. When a symbol
is followed for the first time, the gap reaches back to the first candle that is not stored (at
most `LONGEST_FILL`), and the minutes before it are fetched too as far as longer candles need them.
Not here: publishing and storing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aristobot.core.candle_builder import Missed
from aristobot.core.candle_check import check
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import Refused, Retryable
from aristobot.heartbeat.history import MinuteHistory
from aristobot.heartbeat.store import HeartbeatStore
from aristobot.platform.waiting import pause

logger = logging.getLogger(__name__)

#: Less than the stream remembers message ids for, so that no candle can come twice.
LONGEST_FILL = timedelta(hours=23)
#: How long the start waits for a database that is away; then as much as possible is fetched.
_DATABASE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_REFUSED_PAUSE_SECONDS = 60.0
_AT_ONCE = 4

#: Takes a fetched minute; `is_context` ones only complete longer candles.
Filled = Callable[[Candle, bool], None]


class Repair:
    """`filled` gets the minutes in order; `settled` is told of a gap that is closed."""

    def __init__(
        self,
        history: MinuteHistory,
        store: HeartbeatStore,
        *,
        filled: Filled,
        covers: Callable[[str, datetime], None],
    ) -> None:
        self._history = history
        self._store = store
        self._filled = filled
        self._covers = covers
        self._new: asyncio.Queue[tuple[Missed, bool]] = asyncio.Queue()
        self._open: set[Missed] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    @property
    def open_gaps(self) -> int:
        return len(self._open)

    def has_open(self, symbol: str) -> bool:
        """Whether a gap of the symbol is being filled."""
        return any(gap.symbol == symbol for gap in self._open)

    def put(self, gap: Missed, *, is_start: bool = False) -> None:
        """Fill a gap. `is_start`: the symbol was not followed before, so look further back."""
        if gap.to_time - gap.from_time > LONGEST_FILL:
            logger.error("gap is too long to fill", extra={"symbol": gap.symbol, "gap": str(gap)})
            gap = replace(gap, from_time=gap.to_time - LONGEST_FILL)
        self._open.add(gap)
        self._new.put_nowait((gap, is_start))

    async def run(self) -> None:
        """Fill for ever; ends on cancellation."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                gap, is_start = await self._new.get()
                tasks.create_task(self._fill(gap, is_start), name=f"gap of {gap.symbol}")

    async def _fill(self, found: Missed, is_start: bool) -> None:
        gap, fetch_from = found, found.from_time
        if is_start:
            gap = replace(found, from_time=await self._first_missing(found))
            # The longest candle that is not stored may have begun before.
            fetch_from = Timeframe.H4.open_of(gap.from_time)
        self._covers(gap.symbol, gap.from_time)
        self._store.put_gap(gap)
        logger.warning(
            "minutes were missed",
            extra={
                "symbol": gap.symbol,
                "from": gap.from_time.isoformat(),
                "to": gap.to_time.isoformat(),
                "cause": gap.cause,
            },
        )
        await self._fetch(gap, fetch_from)
        self._open.discard(found)
        logger.info("gap is filled", extra={"symbol": gap.symbol, "to": gap.to_time.isoformat()})

    async def _fetch(self, gap: Missed, cursor: datetime) -> None:
        """Fetch and hand on, from `cursor` to the gap's end."""
        delay, attempt, told = _FIRST_PAUSE_SECONDS, 0, ""
        while cursor < gap.to_time:
            try:
                async with self._at_once:
                    minutes = await self._history.minutes(
                        gap.symbol, cursor, gap.to_time, attempt=attempt
                    )
                reason = "the exchange has no later candle yet"
            except Retryable as error:
                minutes, reason = [], str(error)
            except Refused as error:
                minutes, reason = [], str(error)
                delay = _REFUSED_PAUSE_SECONDS
            for minute in minutes:
                self._filled(minute, minute.open_time < gap.from_time)
                cursor = minute.close_time
            if cursor >= gap.to_time:
                return
            attempt += 1
            if attempt > 3 and reason != told:
                told = reason
                logger.warning(
                    "gap can't be filled yet", extra={"symbol": gap.symbol, "why": reason}
                )
            await pause(delay)
            delay = min(delay * 1.5, max(delay, _LONGEST_PAUSE_SECONDS))

    async def _first_missing(self, gap: Missed) -> datetime:
        """Where the stored candles have their first hole; the gap's beginning if they have none."""
        earliest = gap.to_time - LONGEST_FILL
        try:
            async with asyncio.timeout(_DATABASE_SECONDS):
                stored = await self._patient_stored(gap.symbol, earliest)
        except TimeoutError:
            logger.warning("the database is away: fetching a day", extra={"symbol": gap.symbol})
            return min(gap.from_time, _whole_minute(earliest))
        minutes = [c.open_time for c in stored if c.timeframe is Timeframe.M1]
        if not minutes:
            return gap.from_time
        missing = check(stored, min(minutes), gap.from_time)
        return min([gap.from_time, *(finding.open_time for finding in missing)])

    async def _patient_stored(self, symbol: str, since: datetime) -> list[Candle]:
        while True:
            try:
                return await self._store.stored(symbol, since)
            except Retryable as error:
                await pause(error.after_seconds)


def _whole_minute(moment: datetime) -> datetime:
    return Timeframe.M1.open_of(moment)
