"""What the bus promises: on disk before it counts, one at a time and in order, nothing skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from aristobot.contracts.streams import (
    WEBHOOKS,
    BrokerKey,
    Stream,
    engine_consumer,
    webhook_subject,
)
from aristobot.core.errors import Fenced, Retryable
from aristobot.platform.bus import Bus, Delivery, Undeliverable

Handler = Callable[[Delivery], Awaitable[None]]


async def _publish(bus: Bus, key: BrokerKey, *texts: str) -> None:
    for text in texts:
        await bus.publish(
            WEBHOOKS, webhook_subject(key), text.encode(), message_id=f"{key}{text}", headers={}
        )


@asynccontextmanager
async def _consuming(bus: Bus, key: BrokerKey, handle: Handler) -> AsyncIterator[None]:
    task = asyncio.create_task(
        bus.consume(WEBHOOKS, webhook_subject(key), engine_consumer(key), handle)
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


async def test_a_copy_is_acknowledged_under_the_same_sequence(bus: Bus, key: BrokerKey) -> None:
    acks = [
        await bus.publish(
            WEBHOOKS, webhook_subject(key), b"x", message_id=f"{key}-same", headers={}
        )
        for _ in range(3)
    ]
    assert [ack.duplicate for ack in acks] == [False, True, True]
    assert len({ack.sequence for ack in acks}) == 1


async def test_each_of_many_publishes_gets_its_own_acknowledgement(
    bus: Bus, key: BrokerKey
) -> None:
    async def publish(number: int) -> tuple[int, int]:
        ack = await bus.publish(
            WEBHOOKS, webhook_subject(key), b"x", message_id=f"{key}-{number}", headers={}
        )
        return number, ack.sequence

    first = dict(await asyncio.gather(*(publish(number) for number in range(200))))
    again = dict(await asyncio.gather(*(publish(number) for number in reversed(range(200)))))
    assert len(set(first.values())) == 200
    assert again == first  # each as a copy of itself and of no other


async def test_a_stream_that_is_not_the_expected_one_refuses(bus: Bus, key: BrokerKey) -> None:
    other = Stream("ORDERS", (), WEBHOOKS.retention, 0, 0)
    with pytest.raises(Retryable, match="did not acknowledge"):
        await bus.publish(other, webhook_subject(key), b"x", message_id=f"{key}-o", headers={})


async def test_an_acknowledgement_that_does_not_come_in_time_is_retryable(
    bus: Bus, key: BrokerKey
) -> None:
    with pytest.raises(Retryable, match="did not acknowledge"):
        await bus.publish(
            WEBHOOKS,
            webhook_subject(key),
            b"x",
            message_id=f"{key}-late",
            headers={},
            timeout_seconds=0.000_001,
        )
    ack = await bus.publish(
        WEBHOOKS, webhook_subject(key), b"x", message_id=f"{key}-late", headers={}
    )
    assert ack.sequence > 0


async def test_a_subject_that_no_stream_takes_is_an_error_at_once(bus: Bus) -> None:
    nowhere = Stream("WEBHOOKS", (), WEBHOOKS.retention, 0, 0)
    with pytest.raises(Undeliverable, match="no stream takes"):
        await bus.publish(nowhere, "webhooks.mistyped.a.b", b"x", message_id="m", headers={})


async def test_messages_come_in_order_also_when_one_has_to_wait(bus: Bus, key: BrokerKey) -> None:
    seen: list[tuple[str, int]] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.data.decode(), delivery.attempt))
        if delivery.data == b"2" and delivery.attempt < 3:
            raise Retryable("not yet", after_seconds=0.1)

    await _publish(bus, key, "1", "2", "3")
    async with _consuming(bus, key, handle):
        await _until(lambda: len(seen) >= 5)
    assert seen == [("1", 1), ("2", 1), ("2", 2), ("2", 3), ("3", 1)]


async def test_an_unexpected_error_loses_no_message(bus: Bus, key: BrokerKey) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.data.decode())
        if len(seen) == 1:
            raise ZeroDivisionError

    await _publish(bus, key, "1", "2")
    async with _consuming(bus, key, handle):
        await _until(lambda: len(seen) >= 3)
    assert seen == ["1", "1", "2"]


async def test_two_replicas_handle_one_message_at_a_time(bus: Bus, key: BrokerKey) -> None:
    running, most, seen = 0, 0, []

    async def handle(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        seen.append(delivery.data.decode())
        running -= 1

    await _publish(bus, key, *map(str, range(20)))
    async with _consuming(bus, key, handle), _consuming(bus, key, handle):
        await _until(lambda: len(seen) >= 20)
    assert seen == [str(i) for i in range(20)]
    assert most == 1


async def test_a_slow_handler_keeps_its_message(bus: Bus, key: BrokerKey) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await asyncio.sleep(4.0)  # longer than the stream waits for an acknowledgement

    await _publish(bus, key, "1")
    async with _consuming(bus, key, handle), _consuming(bus, key, handle):
        await asyncio.sleep(5.0)
    assert attempts == [1]


async def test_a_fenced_handler_ends_the_consumer_and_leaves_the_message(
    bus: Bus, key: BrokerKey
) -> None:
    async def fenced(_: Delivery) -> None:
        raise Fenced("replaced")

    seen: list[str] = []

    async def successor(delivery: Delivery) -> None:
        seen.append(delivery.data.decode())

    await _publish(bus, key, "1")
    with pytest.raises(Fenced):
        await asyncio.wait_for(
            bus.consume(WEBHOOKS, webhook_subject(key), engine_consumer(key), fenced), 10
        )
    async with _consuming(bus, key, successor):
        await _until(lambda: seen == ["1"])


@asynccontextmanager
async def _ending(nats_url: str, key: BrokerKey, handle: Handler) -> AsyncIterator[Bus]:
    """A consumer on a connection of its own, which is drained within."""
    bus = await Bus.connect(nats_url, name="ending", timeout_seconds=20)
    try:
        async with _consuming(bus, key, handle):
            yield bus
    finally:
        await bus.close()


async def test_a_consumer_that_is_drained_ends_what_it_is_at_and_begins_nothing(
    nats_url: str, bus: Bus, key: BrokerKey
) -> None:
    begun, ended, rest = [], [], []

    async def handle(delivery: Delivery) -> None:
        begun.append(delivery.data.decode())
        await asyncio.sleep(0.5)
        ended.append(delivery.data.decode())

    async def successor(delivery: Delivery) -> None:
        rest.append((delivery.data.decode(), delivery.attempt))

    await _publish(bus, key, "1", "2")
    async with _ending(nats_url, key, handle) as ending:
        await _until(lambda: begun == ["1"])
        await ending.drain()
        assert ended == ["1"]
    async with _consuming(bus, key, successor):
        await _until(lambda: len(rest) == 1)
    assert rest == [("2", 1)]
    assert begun == ["1"]


async def test_a_handler_that_is_cut_off_gives_its_message_back_at_once(
    nats_url: str, bus: Bus, key: BrokerKey
) -> None:
    begun = asyncio.Event()
    seen: list[int] = []

    async def hangs(_: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def successor(delivery: Delivery) -> None:
        seen.append(delivery.attempt)

    await _publish(bus, key, "1")
    async with _ending(nats_url, key, hangs) as ending:
        await begun.wait()
        loop = asyncio.get_running_loop()
        started = loop.time()
        await ending.drain()
        assert 1 < loop.time() - started < 2  # it was given its time
    async with _consuming(bus, key, successor):
        async with asyncio.timeout(1.5):  # well before the stream would give it again by itself
            while not seen:
                await asyncio.sleep(0.01)
    assert seen == [2]


async def test_a_question_that_nobody_answers_is_retryable(bus: Bus, key: BrokerKey) -> None:
    with pytest.raises(Retryable, match="nobody serves"):
        await bus.request(f"gateway.query.{key}", b"")


async def test_all_who_serve_are_asked_also_while_one_hangs_and_none_that_has_ended(
    nats_url: str, bus: Bus, key: BrokerKey
) -> None:
    asked: list[str] = []

    async def serve(name: str) -> None:
        async def respond(_: str, data: bytes, __: Mapping[str, str]) -> bytes:
            asked.append(name)
            if name == "first":
                await asyncio.Event().wait()
            return data

        other = await Bus.connect(nats_url, name=name, timeout_seconds=20)
        try:
            async with asyncio.TaskGroup() as tasks:
                await other.serve_all("engine.query.*.*", respond, tasks)
                await other.client.flush(timeout=2)
                serving.release()
        finally:
            # Its connection lives on a while, as that of a process that is being drained.
            await ended.wait()
            await other.close()

    async def ask(times: int) -> None:
        for number in range(times):
            question = b"%d" % number
            assert await bus.request(f"engine.query.{key}", question) == question

    serving, ended = asyncio.Semaphore(0), asyncio.Event()
    first, second = (asyncio.create_task(serve(name)) for name in ("first", "second"))
    try:
        await serving.acquire()
        await serving.acquire()
        await ask(20)
        assert set(asked) == {"first", "second"}
        first.cancel()
        await asyncio.sleep(0.1)
        asked.clear()
        await ask(20)
        assert asked == ["second"] * 20
    finally:
        ended.set()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
