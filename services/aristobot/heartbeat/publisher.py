"""Publishes closed candles until the stream has them, each symbol's timeframe in order.

Candles of different symbols and timeframes go out side by side, since they close at the same
moment. While NATS is away they wait here; both replicas hold the same, and a replica that is
killed finds what it owed when it starts again. Stored is only what the stream has acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from aristobot.contracts import trace_names as names
from aristobot.contracts.keys import candle_id
from aristobot.contracts.messages import ClosedCandle
from aristobot.contracts.streams import CANDLES, candle_subject
from aristobot.core.errors import Retryable
from aristobot.platform import metrics, telemetry
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import pause

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.2
#: Waiting for acknowledgement at a time.
_MOST_AT_ONCE = 256


class CandlePublisher:
    """`on_published` is called with each candle that the stream has."""

    def __init__(self, bus: Bus, market: str, on_published: Callable[[ClosedCandle], None]) -> None:
        self._bus = bus
        self._market = market
        self._on_published = on_published
        self._waiting: deque[tuple[ClosedCandle, float]] = deque()
        self._wake = asyncio.Event()
        self._under_way = 0
        self.published = 0

    def put(self, candle: ClosedCandle) -> None:
        self._waiting.append((candle, time.perf_counter()))
        self._wake.set()

    @property
    def pending(self) -> int:
        return len(self._waiting) + self._under_way

    async def run(self) -> None:
        """Publish for ever; ends on cancellation."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._next_batch()
                self._under_way = len(batch)
                async with asyncio.TaskGroup() as tasks:
                    for candle, since in batch:
                        tasks.create_task(self._publish(candle, since), name="publish candle")
                self._under_way = 0

    def _next_batch(self) -> list[tuple[ClosedCandle, float]]:
        """The next candles, as long as no two are of the same symbol and timeframe."""
        seen: set[tuple[str, str]] = set()
        batch: list[tuple[ClosedCandle, float]] = []
        while self._waiting and len(batch) < _MOST_AT_ONCE:
            key = (self._waiting[0][0].symbol, self._waiting[0][0].timeframe.value)
            if key in seen:
                break
            seen.add(key)
            batch.append(self._waiting.popleft())
        return batch

    async def _publish(self, candle: ClosedCandle, since: float) -> None:
        is_told = False
        # The trace of whatever the candle leads to begins here.
        with telemetry.producer_span(names.CANDLES_CLOSED, symbol=candle.symbol) as headers:
            while True:
                try:
                    await self._bus.publish(
                        CANDLES,
                        candle_subject(self._market, candle.symbol, candle.timeframe),
                        candle.encode(),
                        message_id=candle_id(self._market, candle.to_candle()),
                        headers=headers,
                    )
                    break
                except Retryable as error:
                    if not is_told:
                        logger.warning("candle waits for the bus", extra={"error": str(error)})
                    is_told = True
                    metrics.PUBLISH_FAILURES.labels(CANDLES.name).inc()
                    await pause(_RETRY_SECONDS)
        self.published += 1
        metrics.CANDLE_CLOSE_SECONDS.labels(self._market).observe(time.perf_counter() - since)
        metrics.CANDLES_PUBLISHED.labels(
            self._market, candle.timeframe.value, str(candle.is_late).lower()
        ).inc()
        self._on_published(candle)
