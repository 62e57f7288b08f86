"""A mirror follows its bucket: puts, deletes, and whatever happened while it was away."""

from __future__ import annotations

import asyncio
import time

import pytest

from aristobot.contracts.streams import BROKERS_BUCKET
from aristobot.core.errors import Retryable
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.kv_mirror import KvMirror


async def _until(mirror: KvMirror, wanted: dict[str, bytes]) -> float:
    started = time.monotonic()
    async with asyncio.timeout(20):
        while dict(mirror.entries) != wanted or not mirror.is_loaded:
            await asyncio.sleep(0.01)
    return time.monotonic() - started


async def test_it_follows_changes_within_a_second(bus: Bus) -> None:
    bucket = Bucket(bus, BROKERS_BUCKET)
    await bucket.make_equal({"a.one": b"1", "a.two": b"2"})
    changes: list[dict[str, bytes]] = []
    mirror = KvMirror(bus, BROKERS_BUCKET, on_change=lambda e: changes.append(dict(e)))
    running = asyncio.create_task(mirror.run())
    try:
        await _until(mirror, {"a.one": b"1", "a.two": b"2"})
        await bucket.make_equal({"a.one": b"1", "a.three": b"3"})
        assert await _until(mirror, {"a.one": b"1", "a.three": b"3"}) < 1.0
        await bucket.make_equal({})
        assert await _until(mirror, {}) < 1.0
        assert changes[0] == {"a.one": b"1", "a.two": b"2"}
        assert changes[-1] == {}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_bucket_of_an_older_version_is_brought_up_to_date(bus: Bus) -> None:
    js = bus.jetstream
    await js.delete_key_value(BROKERS_BUCKET)
    older = await js.create_key_value(bucket=BROKERS_BUCKET, history=5)
    await older.put("a.one", b"1")
    with pytest.raises(Retryable):
        await Bucket(bus, BROKERS_BUCKET).read()
    await bus.ensure_streams()
    assert await Bucket(bus, BROKERS_BUCKET).read() == {"a.one": b"1"}


async def test_a_bucket_may_hold_and_have_held_thousands_of_keys(bus: Bus) -> None:
    bucket = Bucket(bus, BROKERS_BUCKET)
    wanted = {f"a.{number}": b"1" for number in range(1100)}  # more than NATS gives by subject
    await bucket.make_equal(wanted)
    assert await bucket.read() == wanted
    await bucket.make_equal({"a.7": b"1"})
    assert await bucket.read() == {"a.7": b"1"}


async def test_no_key_is_missed_while_others_change(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot.platform.buckets.PAGE", 3)
    bucket = Bucket(bus, BROKERS_BUCKET)
    names = [f"a.{number}" for number in range(20)]
    await bucket.make_equal(dict.fromkeys(names, b"0"))

    async def change() -> None:
        for number in range(1000):
            await bucket.put(names[number * 7 % 20], str(number).encode())

    async with asyncio.TaskGroup() as tasks:
        changing = tasks.create_task(change())
        while not changing.done():
            assert set(await bucket.read()) == set(names)
    await bucket.make_equal({})
