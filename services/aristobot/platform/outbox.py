"""The outbox: what a transaction decided to publish is published, also after a crash.

A message is written by `enqueue` in the transaction that decides it, and `flush` publishes it in
order and then forgets it. A crash in between publishes it again under the same message id, which
the stream drops within its window and the receiver recognises after it. A `producer` names an
ordered queue, such as one broker's commands. In a process one flusher works at it at a time; two
processes (an engine and its successor) may both, and then publish the same messages in the same
order, of which the stream takes each once. A crash of the server may bring back rows that were
published already, so whoever owns producers also looks for what is left now and then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ARRAY, BigInteger, Text, any_, bindparam, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.streams import Stream
from aristobot.platform.bus import Bus
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.statements import Statement
from aristobot.platform.tables import outbox

_BATCH = 100

_INSERT = Statement(
    insert(outbox),
    columns=("owner", "producer", "subject", "message_id", "payload", "headers"),
)
_NEXT = Statement(
    select(outbox.c.id, outbox.c.subject, outbox.c.message_id, outbox.c.payload, outbox.c.headers)
    .where(outbox.c.producer == bindparam("producer"))
    .order_by(outbox.c.id)
    .limit(_BATCH)
)
_WAITING = Statement(
    select(outbox.c.owner, outbox.c.producer)
    .where(func.starts_with(outbox.c.producer, bindparam("prefix", type_=Text)))
    .distinct()
)
_DELETE = Statement(
    delete(outbox).where(outbox.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    subject: str
    message_id: str
    payload: bytes
    headers: Mapping[str, str]


async def enqueue(
    connection: AsyncConnection, *, owner: str, producer: str, message: OutboxMessage
) -> None:
    """Write `message` as part of the caller's transaction."""
    await _INSERT.run(
        connection,
        owner=owner,
        producer=producer,
        subject=message.subject,
        message_id=message.message_id,
        payload=message.payload,
        headers=dict(message.headers),
    )


class OutboxPublisher:
    """Publishes to one stream what the outbox holds for a producer."""

    def __init__(self, database: Database, bus: Bus, stream: Stream) -> None:
        self._database = database
        self._bus = bus
        self._stream = stream
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def waiting(self, prefix: str) -> list[tuple[str, str]]:
        """Owner and producer of what waits, for all producers whose name begins so."""
        async with self._database.transaction(EVERY_OWNER) as connection:
            rows = await _WAITING.rows(connection, prefix=prefix)
        return [(row["owner"], row["producer"]) for row in rows]

    async def flush(self, *, owner: str, producer: str) -> int:
        """Publish all that waits, in order; returns how many. Raises `Retryable`."""
        count = 0
        async with self._locks[producer]:
            while True:
                # Losing a deletion in a crash costs one duplicate, which is harmless.
                async with self._database.transaction(owner, waits_for_disk=False) as connection:
                    rows = await _NEXT.rows(connection, producer=producer)
                    if not rows:
                        return count
                    for row in rows:
                        await self._bus.publish(
                            self._stream,
                            row["subject"],
                            row["payload"],
                            message_id=row["message_id"],
                            headers=row["headers"],
                        )
                    await _DELETE.run(connection, ids=[row["id"] for row in rows])
                count += len(rows)
                if len(rows) < _BATCH:
                    return count
