"""The engine's process: one webhook worker per broker, and one worker for order events.

Brokers come and go with the `brokers` bucket. A broker that is gone keeps its worker until its
last accepted webhook is recorded (as rejected: there is no such broker), also after a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from pydantic import ValidationError

from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    ENGINE_EVENTS_CONSUMER,
    ORDER_EVENTS,
    ORDERS,
    UNROUTED,
    WEBHOOKS,
    BrokerKey,
    engine_consumer,
    webhook_subject,
)
from aristobot.core.errors import Retryable
from aristobot.engine.event_worker import EventWorker
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.webhook_worker import WebhookWorker, producer_of
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from aristobot.platform.kv_mirror import KvMirror
from aristobot.platform.outbox import OutboxPublisher

logger = logging.getLogger(__name__)

_DRAIN_CHECK_SECONDS = 1.0


class Engine:
    """Runs until cancelled. `problems` says what keeps it from being ready."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._outbox = OutboxPublisher(database, bus, ORDERS)
        self._gateway = GatewayClient(bus)
        self._records: dict[BrokerKey, BrokerRecord] = {}
        self._workers: dict[BrokerKey, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._mirror = KvMirror(bus, BROKERS_BUCKET, on_change=self._load)

    async def problems(self) -> list[str]:
        """What keeps the engine from working now; empty when ready."""
        found = []
        if not self._bus.is_connected:
            found.append("NATS is not connected")
        if not self._mirror.is_loaded:
            found.append("the brokers are not loaded yet")
        try:
            await self._database.ping()
        except Retryable as error:
            found.append(str(error))
        return found

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mirror.run(), name="brokers mirror")
            tasks.create_task(self._follow_brokers(tasks), name="follow brokers")
            tasks.create_task(
                self._bus.consume(
                    ORDER_EVENTS,
                    ORDER_EVENTS.subjects[0],
                    ENGINE_EVENTS_CONSUMER,
                    EventWorker(self._database).handle,
                ),
                name="order events",
            )

    def _load(self, entries: Mapping[str, bytes]) -> None:
        records = {}
        for key, value in entries.items():
            try:
                record = BrokerRecord.model_validate_json(value)
            except ValidationError:
                logger.exception("broker record can't be read", extra={"bucket_key": key})
                continue
            records[record.key] = record
        self._records = records
        self._changed.set()

    async def _follow_brokers(self, tasks: asyncio.TaskGroup) -> None:
        """Keep a worker running for every broker, and for every consumer left behind."""
        await self._mirror.wait_loaded()
        left_behind = await self._consumers_left_behind()
        while True:
            self._changed.clear()
            wanted = set(self._records)
            wanted |= {BrokerKey(key.owner, UNROUTED) for key in self._records}
            for key in wanted | left_behind:
                running = self._workers.get(key)
                if running is None or running.done():
                    self._workers[key] = tasks.create_task(
                        self._work(key), name=f"webhooks of {key}"
                    )
            left_behind = set()
            await self._changed.wait()

    async def _consumers_left_behind(self) -> set[BrokerKey]:
        while True:
            try:
                names = await self._bus.consumer_names(WEBHOOKS)
                break
            except Retryable as error:
                logger.warning("consumers can't be listed", extra={"error": str(error)})
                await asyncio.sleep(1.0)
        found = set()
        for name in names:
            role, _, rest = name.partition("_")
            owner, _, broker = rest.partition("_")
            if role == "engine" and owner and broker:
                found.add(BrokerKey(owner, broker))
        return found

    def _is_wanted(self, key: BrokerKey) -> bool:
        if key.broker == UNROUTED:
            return any(known.owner == key.owner for known in self._records)
        return key in self._records

    async def _work(self, key: BrokerKey) -> None:
        worker = WebhookWorker(
            key,
            database=self._database,
            outbox=self._outbox,
            gateway=self._gateway,
            record=lambda: self._records.get(key),
        )
        logger.info("worker started", extra={"broker": str(key)})
        await self._publish_left_over(key)
        consuming = asyncio.create_task(
            self._bus.consume(WEBHOOKS, webhook_subject(key), engine_consumer(key), worker.handle),
            name=f"consume {key}",
        )
        try:
            while True:
                done, _ = await asyncio.wait([consuming], timeout=_DRAIN_CHECK_SECONDS)
                if done:
                    await consuming  # it never returns, so this raises what ended it
                if not self._is_wanted(key) and await self._is_drained(key):
                    break
        finally:
            consuming.cancel()
            await asyncio.wait([consuming], timeout=5.0)
        await self._bus.delete_consumer(WEBHOOKS, engine_consumer(key))
        logger.info("worker ended, its broker is gone", extra={"broker": str(key)})

    async def _publish_left_over(self, key: BrokerKey) -> None:
        """Publish what a crash left in the outbox before anything new is decided."""
        while True:
            try:
                await self._outbox.flush(owner=key.owner, producer=producer_of(key))
                return
            except Retryable as error:
                logger.warning("outbox waits", extra={"broker": str(key), "error": str(error)})
                await asyncio.sleep(error.after_seconds)

    async def _is_drained(self, key: BrokerKey) -> bool:
        try:
            return not await self._bus.consumer_pending(WEBHOOKS, engine_consumer(key))
        except Retryable:
            return False
