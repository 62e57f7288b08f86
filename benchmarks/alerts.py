"""Trading alerts posted to a running platform at a fixed pace, and what became of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import uvloop
from tests.harness.platform import Platform, eventually

from benchmarks.bodies import trade
from benchmarks.http_load import Connection

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Sent:
    """`posted_at`: wall clock by webhook id, taken when the request was written to its socket.

    `late_ms`: how much later than planned each request was written (the sender's own fault).
    """

    posted_at: dict[str, float] = field(default_factory=dict)
    answered_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    refused: int = 0


def send(
    platform: Platform, brokers: Sequence[str], *, count: int, per_second: float, first: int = 0
) -> Sent:
    """Post `count` alerts, to each broker in turn, `per_second`, whether answered yet or not."""
    urls = {broker: urlsplit(platform.webhook_url(broker)) for broker in brokers}
    paths = [(broker, url.path) for broker, url in urls.items()]
    return uvloop.run(_send(platform.port_base, paths, count, per_second, first))


async def _send(
    port: int, paths: Sequence[tuple[str, str]], count: int, per_second: float, first: int
) -> Sent:
    loop = asyncio.get_running_loop()
    sent = Sent()
    idle: list[Connection] = []
    posted: dict[Connection, float] = {}
    is_answered = asyncio.Event()

    def on_answer(connection: Connection, status: int, body: bytes) -> None:
        at = posted.pop(connection)
        if status == 200:
            sent.posted_at[json.loads(body)["id"]] = at
            sent.answered_ms.append(1000 * (time.time() - at))
            idle.append(connection)
        else:
            sent.refused += 1
        is_answered.set()

    started = loop.time()
    for number in range(count):
        due = started + number / per_second
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not idle:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, made = await loop.create_connection(
                    lambda: Connection(on_answer), "127.0.0.1", port
                )
            idle.append(made)
        broker, path = paths[number % len(paths)]
        body = trade(first + number // len(paths), broker)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Go-http-client/1.1\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        )
        connection = idle.pop()
        sent.late_ms.append(1000 * (loop.time() - due))
        posted[connection] = time.time()
        connection.send(head.encode() + body)
    async with asyncio.timeout(_ANSWER_SECONDS):
        while posted:
            is_answered.clear()
            await is_answered.wait()
    for connection in idle:
        if connection.transport is not None:
            connection.transport.close()
    return sent


def wait_processed(platform: Platform, sent: Sent, since: datetime, *, seconds: float) -> None:
    """Until the engine has recorded every alert sent after `since` and no outcome is open."""

    def is_done() -> bool:
        recorded = platform.rows(
            "SELECT count(*) AS n FROM webhooks WHERE received_at >= $1", since
        )[0]["n"]
        due, known = platform.rows(
            "SELECT (SELECT count(*) FROM webhooks WHERE received_at >= $1"
            " AND command_id IS NOT NULL) AS due,"
            " (SELECT count(*) FROM orders WHERE caused_at >= $1"
            " AND status NOT IN ('sending', 'unknown')) AS known",
            since,
        )[0].values()
        return bool(recorded >= len(sent.posted_at) and known >= due)

    eventually(is_done, seconds=seconds, what="every alert being processed")


def orders(platform: Platform, since: datetime) -> list[dict[str, Any]]:
    """The orders that alerts after `since` led to, with the webhook's id in `source_id`."""
    return platform.rows(
        "SELECT source_id, broker, status, client_order_id, caused_at, created_at, accepted_at"
        " FROM orders WHERE caused_at >= $1",
        since,
    )


def now() -> datetime:
    return datetime.now(UTC)
