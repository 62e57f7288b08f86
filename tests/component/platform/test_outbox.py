"""What a transaction decided is published, once in effect and in order, also after a crash."""

from __future__ import annotations

import pytest

from aristobot.contracts.streams import ORDER_EVENTS, BrokerKey, event_subject
from aristobot.platform.bus import Bus, Undeliverable
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxMessage, OutboxPublisher, enqueue


def _message(key: BrokerKey, number: int) -> OutboxMessage:
    return OutboxMessage(
        event_subject(key), f"{key}-{number}", b"%d" % number, {"traceparent": "t"}
    )


async def _write(database: Database, key: BrokerKey, *numbers: int) -> None:
    async with database.transaction(key.owner) as connection:
        for number in numbers:
            await enqueue(
                connection, owner=key.owner, producer=f"p:{key}", message=_message(key, number)
            )


async def _published(bus: Bus, key: BrokerKey) -> list[tuple[bytes, str | None]]:
    subscription = await bus.jetstream.subscribe(event_subject(key), ordered_consumer=True)
    found = []
    try:
        while True:
            message = await subscription.next_msg(timeout=0.5)
            found.append((message.data, (message.headers or {}).get("traceparent")))
    except TimeoutError:
        return found
    finally:
        await subscription.unsubscribe()


async def test_it_publishes_in_order_and_forgets(
    database: Database, bus: Bus, key: BrokerKey
) -> None:
    publisher = OutboxPublisher(database, bus, ORDER_EVENTS)
    await _write(database, key, *range(150))
    assert await publisher.flush(owner=key.owner, producer=f"p:{key}") == 150
    assert await publisher.flush(owner=key.owner, producer=f"p:{key}") == 0
    assert await _published(bus, key) == [(b"%d" % n, "t") for n in range(150)]


async def test_what_is_rolled_back_is_not_published(
    database: Database, bus: Bus, key: BrokerKey
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(key.owner) as connection:
            await enqueue(
                connection, owner=key.owner, producer=f"p:{key}", message=_message(key, 1)
            )
            raise ZeroDivisionError
    publisher = OutboxPublisher(database, bus, ORDER_EVENTS)
    assert await publisher.flush(owner=key.owner, producer=f"p:{key}") == 0


async def test_a_crash_before_forgetting_publishes_nothing_twice(
    database: Database, bus: Bus, key: BrokerKey
) -> None:
    """The message is in the stream already, as if the process had died after publishing it."""
    await _write(database, key, 1, 2)
    first = _message(key, 1)
    await bus.publish(
        ORDER_EVENTS,
        first.subject,
        first.payload,
        message_id=first.message_id,
        headers=first.headers,
    )
    publisher = OutboxPublisher(database, bus, ORDER_EVENTS)
    assert await publisher.flush(owner=key.owner, producer=f"p:{key}") == 2
    assert [data for data, _ in await _published(bus, key)] == [b"1", b"2"]


async def test_a_message_that_no_stream_takes_stays(
    database: Database, bus: Bus, key: BrokerKey
) -> None:
    lost = OutboxMessage("orders.mistyped.a.b", f"{key}-lost", b"x", {})
    async with database.transaction(key.owner) as connection:
        await enqueue(connection, owner=key.owner, producer=f"p:{key}", message=lost)
    publisher = OutboxPublisher(database, bus, ORDER_EVENTS)
    for _ in range(2):
        with pytest.raises(Undeliverable):
            await publisher.flush(owner=key.owner, producer=f"p:{key}")
