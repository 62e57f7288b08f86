"""What the operator writes into the buckets, leaves there and takes away, on a real NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.api import ConsumerConfig

from aristobot.contracts.streams import (
    CANDLES,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    runner_consumer,
)
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot_operator.acting.directory import DirectoryWriter
from aristobot_operator.plans.directory import Directory
from tests.component.operator.conftest import NAMESPACE, World

AT_WORK, RESTING = f"{NAMESPACE}.at-work", f"{NAMESPACE}.resting"
WANTED = Directory(
    strategies={AT_WORK: b"1", RESTING: b"2"},
    resting=frozenset({RESTING}),
    unread_strategies=frozenset({f"{NAMESPACE}.unread"}),
)


@asynccontextmanager
async def writer(bus: Bus, replicas: int = 1) -> AsyncIterator[DirectoryWriter]:
    writer = DirectoryWriter(bus, lambda: WANTED, replicas=replicas)
    running = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()


async def make_consumer(bus: Bus, name: str) -> None:
    config = ConsumerConfig(name=name, durable_name=name, filter_subject="candles.closed.>")
    await bus.jetstream.add_consumer(CANDLES.name, config)


async def test_a_consumer_that_could_not_be_removed_at_the_time_is_found_later(
    world: World, bus: Bus
) -> None:
    """So many that the server tells of them in pieces."""
    async with writer(bus) as first:
        await world.eventually(lambda: first.is_written)
    kept = {runner_consumer(NAMESPACE, name) for name in ("at-work", "unread")} | {"another"}
    left = {runner_consumer(NAMESPACE, f"gone-{number:03}") for number in range(300)}
    for name in (*kept, *left, runner_consumer(NAMESPACE, "resting")):
        await make_consumer(bus, name)
    assert set(await bus.consumer_names(CANDLES)) >= kept | left

    async def is_tidy() -> bool:
        return set(await bus.consumer_names(CANDLES)) == kept

    async with writer(bus) as second:  # as one that begins anew
        await world.eventually(is_tidy)
        await world.eventually(lambda: second.is_written)
    for name in kept:
        await bus.delete_consumer(CANDLES, name)


async def test_what_was_lost_is_not_made_again_with_fewer_replicas(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    """One server can't keep three; that is said, and not passed over."""
    async with writer(bus, replicas=3) as asking:
        await asyncio.sleep(1)
        assert not asking.is_written
    said = [each for each in caplog.records if "directory can't be written" in each.message]
    assert "replicas" in str(said[0].__dict__["error"])


async def test_what_is_said_of_a_strategy_goes_with_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pod has ended by then, and whatever an earlier operator has left goes as well."""
    monkeypatch.setattr("aristobot_operator.acting.directory._READ_BACK_SECONDS", 0.2)
    await bus.ensure_streams()
    statuses = Bucket(bus, STRATEGY_STATUS_BUCKET)
    await statuses.make_equal({"alice.left": b"status", "alice.ema": b"status"})
    strategies = {"alice.ema": b"record"}
    writer = DirectoryWriter(bus, lambda: Directory(strategies=dict(strategies)), replicas=1)
    writing = asyncio.create_task(writer.run())

    async def until(kept: set[str]) -> None:
        async with asyncio.timeout(15):
            while set(await statuses.read()) != kept:
                await asyncio.sleep(0.1)

    try:
        await until({"alice.ema"})
        await statuses.put("alice.ema", b"its last")
        del strategies["alice.ema"]
        writer.changed()
        await until(set())
        assert await Bucket(bus, STRATEGIES_BUCKET).read() == {}
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
