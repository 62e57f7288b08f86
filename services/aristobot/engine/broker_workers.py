"""Keeps one consumer running for every broker there is, and ends it once its broker is gone.

Used for the webhooks and for the strategies' decisions: each broker's messages are handled in
order, one at a time, and the brokers side by side. A consumer of a broker that is gone is drained
and removed, also one that an earlier process left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aristobot.contracts.streams import BrokerKey, Stream
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.bus import Bus, Handler
from aristobot.platform.waiting import end_if_cancelled, patiently

logger = logging.getLogger(__name__)

_DRAIN_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BrokerQueue:
    """What is consumed: a stream, and a broker's subject and durable consumer on it."""

    stream: Stream
    subject: Callable[[BrokerKey], str]
    consumer: Callable[[BrokerKey], str]

    def broker_of(self, consumer: str) -> BrokerKey | None:
        """Whose consumer that is; None when it isn't one of these."""
        _, _, rest = consumer.partition("_")
        owner, _, broker = rest.partition("_")
        try:
            key = BrokerKey(owner, broker)
        except Misconfigured:
            return None
        return key if self.consumer(key) == consumer else None


class BrokerWorkers:
    """`handler` makes a broker's; `prepare` is awaited before its first message."""

    def __init__(
        self,
        bus: Bus,
        queue: BrokerQueue,
        *,
        handler: Callable[[BrokerKey], Handler],
        prepare: Callable[[BrokerKey], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._handler = handler
        self._prepare = prepare
        self._wanted: frozenset[BrokerKey] | None = None
        self._workers: dict[BrokerKey, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def want(self, keys: Iterable[BrokerKey]) -> None:
        """Which brokers there are from now on."""
        self._wanted = frozenset(keys)
        self._changed.set()

    async def run(self) -> None:
        """Follow what is wanted for ever; ends on cancellation."""
        await self._changed.wait()
        left_behind = await self._left_behind()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                for key in (self._wanted or frozenset()) | left_behind:
                    running = self._workers.get(key)
                    if running is None or running.done():
                        name = self._queue.consumer(key)
                        self._workers[key] = task = tasks.create_task(self._work(key), name=name)
                        # Its broker may have come back while it was ending.
                        task.add_done_callback(lambda _: self._changed.set())
                left_behind = frozenset()
                await self._changed.wait()

    async def _left_behind(self) -> frozenset[BrokerKey]:
        found: list[str] = []

        async def look() -> None:
            found.extend(await self._bus.consumer_names(self._queue.stream))

        await patiently("list of consumers", look)
        return frozenset(key for name in found if (key := self._queue.broker_of(name)) is not None)

    async def _work(self, key: BrokerKey) -> None:
        stream, consumer = self._queue.stream, self._queue.consumer(key)
        logger.info("worker started", extra={"broker": str(key), "consumer": consumer})
        await self._prepare(key)
        consuming = asyncio.create_task(
            self._bus.consume(stream, self._queue.subject(key), consumer, self._handler(key)),
            name=f"consume {consumer}",
        )
        try:
            while True:
                end_if_cancelled()
                done, _ = await asyncio.wait([consuming], timeout=_DRAIN_CHECK_SECONDS)
                if done:
                    await consuming  # it never returns, so this raises what ended it
                if key not in (self._wanted or ()) and await self._is_drained(consumer):
                    break
        finally:
            consuming.cancel()
            await asyncio.wait([consuming], timeout=5.0)
        await self._bus.delete_consumer(stream, consumer)
        logger.info(
            "worker ended, its broker is gone", extra={"broker": str(key), "consumer": consumer}
        )

    async def _is_drained(self, consumer: str) -> bool:
        try:
            return not await self._bus.consumer_pending(self._queue.stream, consumer)
        except Retryable:
            return False
