"""Writes the directory into the NATS buckets: only what differs, in an order that is safe.

Brokers come before the tokens that lead to them, and tokens go before their brokers. Now and then
the buckets are read back as a whole, so that nothing can stay wrong. A strategy that rests or is
gone loses its durable consumer: resumed, it begins with what is new. One that could not be removed
then is found when the consumers are read back. What the runner of one that is gone has said of it
goes as well, for its pod ends before its record does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Set

from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    CANDLES,
    RUNNER_CONSUMERS,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
    runner_consumer,
)
from aristobot.core.errors import Retryable
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import pause, wait_set
from aristobot_operator.plans.directory import Directory

logger = logging.getLogger(__name__)

#: Changes that come close together are written together.
_SETTLE_SECONDS = 0.05
_READ_BACK_SECONDS = 60.0
_RETRY_SECONDS = 1.0


class DirectoryWriter:
    """`wanted` says what should stand there; `changed` that it may be something else now.

    `replicas`: on how many servers NATS keeps each stream and bucket, also one that was lost.
    """

    def __init__(self, bus: Bus, wanted: Callable[[], Directory], *, replicas: int) -> None:
        self._bus = bus
        self._replicas = replicas
        self._wanted = wanted
        self._brokers = _Mirror(bus, BROKERS_BUCKET)
        self._tokens = _Mirror(bus, TOKENS_BUCKET)
        self._strategies = _Mirror(bus, STRATEGIES_BUCKET)
        self._statuses = _Mirror(bus, STRATEGY_STATUS_BUCKET)
        self._wake = asyncio.Event()
        self._is_written = False

    @property
    def is_written(self) -> bool:
        """Whether the last attempt to write succeeded."""
        return self._is_written

    def changed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Write for ever; ends on cancellation."""
        loop = asyncio.get_running_loop()
        read_at = -_READ_BACK_SECONDS
        while True:
            self._wake.clear()
            try:
                is_read = loop.time() - read_at >= _READ_BACK_SECONDS
                if is_read:
                    await self._read_back()
                await self._write(self._wanted())
                if is_read:
                    await self._remove_consumers()
                    read_at = loop.time()
                self._is_written = True
            except Retryable as error:
                self._is_written = False
                read_at = -_READ_BACK_SECONDS
                logger.warning("the directory can't be written", extra={"error": str(error)})
                await pause(_RETRY_SECONDS)
                continue
            if await wait_set(self._wake, _READ_BACK_SECONDS):
                await pause(_SETTLE_SECONDS)

    async def _read_back(self) -> None:
        await self._bus.ensure_streams(replicas=self._replicas)
        for mirror in (self._brokers, self._tokens, self._strategies, self._statuses):
            await mirror.read()

    async def _write(self, wanted: Directory) -> None:
        await self._tokens.remove_others(wanted.tokens.keys())
        await self._brokers.put(wanted.brokers)
        await self._tokens.put(wanted.tokens)
        await self._brokers.remove_others(wanted.brokers.keys() | wanted.unread_brokers)
        changed = await self._strategies.put(wanted.strategies)
        kept = wanted.strategies.keys() | wanted.unread_strategies
        gone = await self._strategies.remove_others(kept)
        for key in sorted((changed & wanted.resting) | gone):
            owner, _, name = key.partition(".")
            await self._bus.delete_consumer(CANDLES, runner_consumer(owner, name))
        # Known are those of the last reading back: what was said since goes at the next one.
        await self._statuses.remove_others(kept)

    async def _remove_consumers(self) -> None:
        """Those of strategies that rest or are gone, and that were not removed at the time."""
        there = await self._bus.consumer_names(CANDLES)
        wanted = self._wanted()  # only now: a runner makes its own when its record stands there
        at_work = (wanted.strategies.keys() - wanted.resting) | wanted.unread_strategies
        kept = {runner_consumer(*key.split(".", 1)) for key in at_work}
        for name in there:
            if name.startswith(RUNNER_CONSUMERS) and name not in kept:
                await self._bus.delete_consumer(CANDLES, name)


class _Mirror:
    """What a bucket held when it was last read, with all that was written since."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bucket = Bucket(bus, name)
        self._known: dict[str, bytes] = {}

    async def read(self) -> None:
        self._known = await self._bucket.read()

    async def put(self, wanted: Mapping[str, bytes]) -> set[str]:
        """Write what differs; the keys that did."""
        changed = {key for key, value in wanted.items() if self._known.get(key) != value}
        for key in sorted(changed):
            await self._bucket.put(key, wanted[key])
            self._known[key] = wanted[key]
        return changed

    async def remove_others(self, wanted: Set[str]) -> set[str]:
        """Remove what isn't wanted; the keys of it."""
        gone = self._known.keys() - wanted
        for key in sorted(gone):
            await self._bucket.delete(key)
            del self._known[key]
        return set(gone)
