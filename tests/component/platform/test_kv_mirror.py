"""A mirror follows its bucket: puts, deletes, and whatever happened while it was away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Iterable

import pytest
from nats.aio.msg import Msg

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


Page = tuple[tuple[str, int], ...]


@contextlib.asynccontextmanager
async def _bucket_of_several_servers(bus: Bus, pages: Iterable[Page]) -> AsyncIterator[Bucket]:
    """`a`, `b`, `c`, then `a` changed, which moved it to the end.

    The test answers for the servers that pages come from, with keys and sequences; the stream's
    leader is the real one.
    """
    name, answers = f"lagging-{secrets.token_hex(4)}", iter(pages)
    store = await bus.jetstream.create_key_value(bucket=name, history=1, direct=False)
    for key in "abca":
        await store.put(key, b"1")

    async def answer(message: Msg) -> None:
        page = next(answers)
        for key, sequence in page:
            headers = {"Nats-Subject": f"$KV.{name}.{key}", "Nats-Sequence": str(sequence)}
            await bus.client.publish(message.reply, b"1", headers=headers)
        status = {"Status": "204", "Nats-Num-Pending": "0"} if page else {"Status": "404"}
        await bus.client.publish(message.reply, headers=status)

    subscription = await bus.client.subscribe(f"$JS.API.DIRECT.GET.KV_{name}", cb=answer)
    try:
        yield Bucket(bus, name)
    finally:
        await subscription.unsubscribe()
        await bus.jetstream.delete_key_value(name)


async def test_no_key_is_missed_when_a_page_comes_from_a_server_that_lags(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot.platform.buckets.PAGE", 2)
    knows, lags, caught_up = (("b", 2), ("c", 3)), (), (("a", 4),)
    async with _bucket_of_several_servers(bus, (knows, lags, lags, caught_up)) as bucket:
        assert await bucket.read() == dict.fromkeys("abc", b"1")


async def test_what_a_server_that_stays_behind_shows_is_not_taken_for_all(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot.platform.buckets.PAGE", 2)
    monkeypatch.setattr("aristobot.platform.buckets._LAG_SECONDS", 0.2)
    pages = itertools.chain([(("b", 2), ("c", 3))], itertools.repeat(()))
    async with _bucket_of_several_servers(bus, pages) as bucket:
        with pytest.raises(Retryable, match="lags behind"):
            await bucket.read()


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
