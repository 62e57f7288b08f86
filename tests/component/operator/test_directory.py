"""What the operator leaves in the buckets, on a real NATS."""

from __future__ import annotations

import asyncio

import pytest

from aristobot.contracts.streams import STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot_operator.acting.directory import DirectoryWriter
from aristobot_operator.plans.directory import Directory


async def test_what_is_said_of_a_strategy_goes_with_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pod has ended by then, and whatever an earlier operator has left goes as well."""
    monkeypatch.setattr("aristobot_operator.acting.directory._READ_BACK_SECONDS", 0.2)
    await bus.ensure_streams()
    statuses = Bucket(bus, STRATEGY_STATUS_BUCKET)
    await statuses.make_equal({"alice.left": b"status", "alice.ema": b"status"})
    strategies = {"alice.ema": b"record"}
    writer = DirectoryWriter(bus, lambda: Directory(strategies=dict(strategies)))
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
