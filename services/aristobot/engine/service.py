"""The engine's process: webhooks and decisions of every broker, order events, and questions.

Brokers come and go with the `brokers` bucket, strategies with theirs. A broker that is gone keeps
its workers until its last message is recorded (as rejected: there is no such broker), also after a
restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.messages import Message
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    DECISIONS,
    ENGINE_EVENTS_CONSUMER,
    ENGINE_QUERIES,
    HOLDINGS_QUERIES,
    ORDER_EVENTS,
    ORDERS,
    STRATEGIES_BUCKET,
    UNROUTED,
    WEBHOOKS,
    BrokerKey,
    decisions_consumer,
    decisions_subject,
    engine_consumer,
    webhook_subject,
)
from aristobot.core.errors import Retryable
from aristobot.engine.broker_workers import BrokerQueue, BrokerWorkers
from aristobot.engine.event_worker import EventWorker
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.handover import PRODUCERS, producer_of
from aristobot.engine.queries import Queries
from aristobot.engine.strategy_worker import StrategyWorker
from aristobot.engine.webhook_worker import WebhookWorker
from aristobot.platform.bus import Bus, Handler
from aristobot.platform.db import Database
from aristobot.platform.kv_mirror import KvMirror
from aristobot.platform.outbox import OutboxPublisher
from aristobot.platform.waiting import pause

logger = logging.getLogger(__name__)

_WEBHOOKS = BrokerQueue(WEBHOOKS, webhook_subject, engine_consumer)
_DECISIONS = BrokerQueue(DECISIONS, decisions_subject, decisions_consumer)
_OUTBOX_SECONDS = 5.0
_Record = TypeVar("_Record", bound=Message)


class Engine:
    """Runs until cancelled. `problems` says what keeps it from being ready."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bus = bus
        self._database = database
        self._outbox = OutboxPublisher(database, bus, ORDERS)
        self._gateway = GatewayClient(bus)
        self._brokers: dict[BrokerKey, BrokerRecord] = {}
        self._strategies: dict[tuple[str, str], ActiveStrategyRecord] = {}
        self._broker_mirror = KvMirror(bus, BROKERS_BUCKET, on_change=self._load_brokers)
        self._strategy_mirror = KvMirror(bus, STRATEGIES_BUCKET, on_change=self._load_strategies)
        self._webhooks = BrokerWorkers(
            bus, _WEBHOOKS, handler=self._webhook_handler, prepare=self._publish_left_over
        )
        self._decisions = BrokerWorkers(
            bus, _DECISIONS, handler=self._decision_handler, prepare=self._prepare_decisions
        )

    async def problems(self) -> list[str]:
        """What keeps the engine from working now; empty when ready."""
        found = []
        if not self._bus.is_connected:
            found.append("NATS is not connected")
        if not self._broker_mirror.is_loaded:
            found.append("the brokers are not loaded yet")
        if not self._strategy_mirror.is_loaded:
            found.append("the strategies are not loaded yet")
        try:
            await self._database.ping()
        except Retryable as error:
            found.append(str(error))
        return found

    async def run(self) -> None:
        queries = Queries(self._database, self._gateway, self._brokers)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._broker_mirror.run(), name="brokers mirror")
            tasks.create_task(self._strategy_mirror.run(), name="strategies mirror")
            tasks.create_task(self._webhooks.run(), name="webhooks")
            tasks.create_task(self._decisions.run(), name="decisions")
            tasks.create_task(self._publish_unasked(), name="outbox")
            tasks.create_task(
                self._bus.consume(
                    ORDER_EVENTS,
                    ORDER_EVENTS.subjects[0],
                    ENGINE_EVENTS_CONSUMER,
                    EventWorker(self._database).handle,
                ),
                name="order events",
            )
            # Before it knows the brokers it would deny that there are any. While an engine is
            # replaced there may be two: both are asked, for one that hangs must hold nobody up.
            await self._broker_mirror.wait_loaded()
            for subject, respond in (
                (ENGINE_QUERIES, queries.respond),
                (HOLDINGS_QUERIES, queries.respond_holdings),
            ):
                await self._bus.serve_all(subject, respond, tasks)

    def _load_brokers(self, entries: Mapping[str, bytes]) -> None:
        self._brokers.clear()
        self._brokers |= {r.key: r for r in _records(BrokerRecord, entries)}
        self._decisions.want(self._brokers)
        # A webhook that names no broker of its owner's is recorded as well.
        self._webhooks.want(
            {*self._brokers, *(BrokerKey(key.owner, UNROUTED) for key in self._brokers)}
        )

    def _load_strategies(self, entries: Mapping[str, bytes]) -> None:
        self._strategies = {(r.owner, r.name): r for r in _records(ActiveStrategyRecord, entries)}

    def _webhook_handler(self, key: BrokerKey) -> Handler:
        return WebhookWorker(
            key,
            database=self._database,
            outbox=self._outbox,
            gateway=self._gateway,
            record=lambda: self._brokers.get(key),
        ).handle

    def _decision_handler(self, key: BrokerKey) -> Handler:
        return StrategyWorker(
            key,
            database=self._database,
            outbox=self._outbox,
            gateway=self._gateway,
            broker=lambda: self._brokers.get(key),
            strategy=lambda name: self._strategies.get((key.owner, name)),
        ).handle

    async def _prepare_decisions(self, key: BrokerKey) -> None:
        await self._strategy_mirror.wait_loaded()
        await self._publish_left_over(key)

    async def _publish_left_over(self, key: BrokerKey) -> None:
        """Publish what a crash left in the outbox before anything new is decided."""
        while True:
            try:
                await self._outbox.flush(owner=key.owner, producer=producer_of(key))
                return
            except Retryable as error:
                logger.warning("outbox waits", extra={"broker": str(key), "error": str(error)})
                await pause(error.after_seconds)

    async def _publish_unasked(self) -> None:
        """Publish now and then what no message of a broker's may come to publish.

        A crash of the database can bring back rows that were deleted without waiting for the disk.
        """
        while True:
            await pause(_OUTBOX_SECONDS)
            try:
                for owner, producer in await self._outbox.waiting(PRODUCERS):
                    await self._outbox.flush(owner=owner, producer=producer)
            except Retryable as error:
                logger.warning("outbox waits", extra={"error": str(error)})


def _records(model: type[_Record], entries: Mapping[str, bytes]) -> list[_Record]:
    """The records of a bucket; one that can't be read is logged and left out."""
    found = []
    for key, value in entries.items():
        try:
            found.append(model.model_validate_json(value))
        except ValidationError:
            logger.exception("record can't be read", extra={"bucket_key": key})
    return found
