"""What works over NATS ends when it is told to, also when NATS' client swallows that.

nats-py does so now and then, when the cancellation comes in the same moment as something else
(`platform.waiting`). Here it does so each time, and then says that no answer came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import nats.errors
import pytest

from aristobot.contracts.messages import ClosedCandle
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    WEBHOOKS,
    BrokerKey,
    engine_consumer,
    webhook_subject,
)
from aristobot.core.candle_builder import Missed, Trade
from aristobot.core.candles import Candle, Timeframe
from aristobot.engine.broker_workers import BrokerQueue, BrokerWorkers
from aristobot.heartbeat.history import MinuteHistory
from aristobot.heartbeat.publisher import CandlePublisher
from aristobot.heartbeat.raw_feed import RawFeed
from aristobot.heartbeat.repair import Repair
from aristobot.heartbeat.store import HeartbeatStore
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.db import Database
from aristobot.platform.kv_mirror import KvMirror
from aristobot.runner.service import Runner

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Decimal(1)


class World:
    """A bus whose client swallows, once told to; `held` counts who waits in it."""

    def __init__(self, bus: Bus, key: BrokerKey, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bus = bus
        self.key = key
        self.held = 0
        self.is_over = False
        self._monkeypatch = monkeypatch

    def swallow(self) -> None:
        for call in ("request", "publish"):
            self._monkeypatch.setattr(self.bus.client, call, self.hold)

    async def hold(self, *_: object, **__: object) -> None:
        self.held += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if self.is_over:  # a test that fails must end as well
                raise
        raise nats.errors.TimeoutError

    async def until(self, look: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(15):
            while True:
                seen = look()
                if seen if isinstance(seen, bool) else await seen:
                    return
                await asyncio.sleep(0.02)

    async def ends(self, work: Awaitable[None], *, holders: int = 1) -> None:
        """Run it, and cancel it once it waits in NATS' client."""
        task = asyncio.ensure_future(work)
        await self.until(lambda: self.held >= holders)
        task.cancel()
        await asyncio.wait([task], timeout=8)
        self.is_over = True
        assert task.done()

    def workers(self) -> BrokerWorkers:
        async def handle(_: Delivery) -> None:
            pass

        async def prepare(_: BrokerKey) -> None:
            pass

        queue = BrokerQueue(WEBHOOKS, webhook_subject, engine_consumer)
        return BrokerWorkers(self.bus, queue, handler=lambda _: handle, prepare=prepare)


@pytest.fixture
def world(bus: Bus, key: BrokerKey, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(bus, key, monkeypatch)


async def test_a_mirror(world: World) -> None:
    world.swallow()
    await world.ends(KvMirror(world.bus, BROKERS_BUCKET, only="a.b").run())


async def test_workers_that_look_for_what_was_left_behind(world: World) -> None:
    world.swallow()
    workers = world.workers()
    workers.want([world.key])
    await world.ends(workers.run())


async def test_a_worker_whose_broker_is_gone(world: World) -> None:
    workers = world.workers()
    workers.want([world.key])

    async def is_there() -> bool:
        return engine_consumer(world.key) in await world.bus.consumer_names(WEBHOOKS)

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(workers.run())
            await world.until(is_there)
            world.swallow()
            workers.want([])

    await world.ends(work())


async def test_who_removes_a_consumer(world: World) -> None:
    async def work() -> None:
        world.swallow()
        await world.bus.delete_consumer(WEBHOOKS, "none")
        await asyncio.Event().wait()

    await world.ends(work())


async def test_what_keeps_a_message_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would tell for ever of a message that nobody works at any more."""
    monkeypatch.setattr("nats.aio.msg.Msg.in_progress", world.hold)
    subject, durable = webhook_subject(world.key), engine_consumer(world.key)
    await world.bus.publish(WEBHOOKS, subject, b"", message_id=str(world.key), headers={})

    async def handle(_: Delivery) -> None:
        await world.until(lambda: world.held > 0)

    consuming = asyncio.create_task(world.bus.consume(WEBHOOKS, subject, durable, handle))
    try:
        await world.until(lambda: world.held > 0)
        await world.until(lambda: all(t.get_name() != "keep-alive" for t in asyncio.all_tasks()))
    finally:
        world.is_over = True
        consuming.cancel()
        await asyncio.wait([consuming])


async def test_a_publisher_of_candles(world: World) -> None:
    world.swallow()
    publisher = CandlePublisher(world.bus, "market", lambda _: None)
    candle = Candle("BTCUSDT", Timeframe.M1, NOW, ONE, ONE, ONE, ONE, ONE, ONE, 1)
    publisher.put(ClosedCandle.of("market", candle))
    await world.ends(publisher.run())


async def test_a_feed_of_trades(world: World) -> None:
    world.swallow()
    feed = RawFeed(world.bus, "market", "a")
    feed.put(Trade("BTCUSDT", 1, ONE, ONE, 0, 0))
    await world.ends(feed.run())


async def test_a_repair_of_candles(world: World, database: Database) -> None:
    world.swallow()
    repair = Repair(
        MinuteHistory(world.bus, lambda: [world.key]),
        HeartbeatStore(database, "market", "a"),
        filled=lambda *_: None,
        covers=lambda *_: None,
    )
    repair.put(Missed("BTCUSDT", NOW, NOW + timedelta(minutes=5), "test"))
    await world.ends(repair.run())


async def test_a_runner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mirror, and the writing of what it has to say."""
    monkeypatch.setattr("aristobot.platform.kv_mirror._REREAD_SECONDS", 0.1)
    monkeypatch.setattr("aristobot.runner.service._REPEAT_SECONDS", 0.1)
    runner = Runner(world.bus, only=str(world.key))

    async def is_loaded() -> bool:
        return not any("not loaded" in problem for problem in await runner.problems())

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runner.run())
            await world.until(is_loaded)
            world.swallow()

    await world.ends(work(), holders=2)
