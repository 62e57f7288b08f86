"""The exchange's clock as seen from here: the local wall clock plus a measured offset.

Binance refuses a request stamped over a second ahead of it or older than its window, so the
offset matters more than the absolute time. It is measured as NTP does, by halving the round trip,
and of a few measurements the one with the shortest round trip counts. Not here: the request
itself (`measure` is given a function that reads the server's time).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from aristobot.core.errors import AristobotError, Retryable

REMEASURE_SECONDS = 600.0
RETRY_SECONDS = 15.0
SAMPLES = 3
#: The offset may be wrong by half the round trip. A slower answer would leave it so uncertain that
#: an order's window could be believed over while it is still open.
LONGEST_ROUND_TRIP_MS = 2000.0

_log = logging.getLogger(__name__)


class ExchangeClock:
    """Offset in ms; 0 until the first measurement."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._doubted = asyncio.Event()
        self.offset_ms = 0.0

    def now_ms(self) -> int:
        return int(self._wall() * 1000 + self.offset_ms)

    def doubt(self) -> None:
        """Ask for a measurement soon: the exchange has refused a timestamp."""
        self._doubted.set()

    async def measure(self, read_server_ms: Callable[[], Awaitable[int]]) -> float:
        """Measure the offset with a few reads and keep the best; returns it in ms.

        Errors of the read pass through, and when the exchange answers too slowly to tell its time
        `Retryable` is raised; the old offset then stays.
        """
        shortest = float("inf")
        best = self.offset_ms
        for _ in range(SAMPLES):
            before = self._wall() * 1000
            started = self._monotonic()
            server = await read_server_ms()
            elapsed = (self._monotonic() - started) * 1000
            if elapsed < shortest:
                shortest = elapsed
                # Whole milliseconds are cut off at the server: half of one is the mean error.
                best = server + 0.5 - (before + elapsed / 2)
        if shortest > LONGEST_ROUND_TRIP_MS:
            raise Retryable(
                f"the exchange's clock can't be measured: it takes {shortest:.0f} ms to answer"
            )
        self.offset_ms = best
        return best

    async def keep(self, read_server_ms: Callable[[], Awaitable[int]]) -> None:
        """Re-measure for ever: every ten minutes, at once after `doubt`, soon after a failure."""
        pause = REMEASURE_SECONDS
        is_failing = False
        while True:
            # The timeout is the ordinary case: nobody doubted, the measurement is due.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._doubted.wait()
            self._doubted.clear()
            try:
                await self.measure(read_server_ms)
            except AristobotError as error:
                pause = RETRY_SECONDS
                if not is_failing:
                    _log.warning("exchange clock not measured", extra={"reason": str(error)})
                is_failing = True
            else:
                pause = REMEASURE_SECONDS
                is_failing = False
