"""A light HTTP/1.1 sender: bytes made beforehand, kept-alive connections, nothing parsed twice.

Run as a program (`python -m benchmarks.http_load`) it is the closed-loop load of the ingress
benchmark: it reads its order from stdin as JSON and writes what happened to stdout as JSON. A
process of its own, so that its work doesn't slow down what it measures more than a core's share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "
_ANSWER_SECONDS = 10.0


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time.

    `on_answer(connection, status, body)` is called for every answer; status 0: the connection
    was lost while an answer was due.
    """

    def __init__(self, on_answer: Callable[[Connection, int, bytes], None]) -> None:
        self._on_answer = on_answer
        self._received = b""
        self._is_waiting = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self._is_waiting = True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_end = received.find(_END_OF_HEAD)
        if head_end < 0:
            self._received = received
            return
        start = received.index(_LENGTH) + len(_LENGTH)
        length = int(received[start : received.index(b"\r\n", start)])
        body_start = head_end + len(_END_OF_HEAD)
        if len(received) < body_start + length:
            self._received = received
            return
        self._received = b""
        self._is_waiting = False
        self._on_answer(self, int(received[9:12]), received[body_start:])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._on_answer(self, 0, b"")


def post_template(host: str, path: str, body: bytes, content_type: str) -> bytes:
    """The whole request as bytes; `%` in the body must be doubled, since it is filled with `%`."""
    length = len(body % tuple(0 for _ in range(body.count(b"%0"))))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {length}\r\nContent-Type: {content_type}\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    return head.replace("%", "%%").encode() + body


async def closed_loop(order: dict[str, Any]) -> dict[str, Any]:
    """Keep `connections` requests in flight for `seconds`; each has the next number in its body."""
    template = order["request"].encode()
    number = order["first_number"]
    times: list[float] = []
    others: dict[int, int] = {}
    sent_at: dict[Connection, float] = {}
    is_over = asyncio.Event()
    clock = time.perf_counter
    deadline = float("inf")

    def send_next(connection: Connection) -> None:
        nonlocal number
        number += 1
        sent_at[connection] = clock()
        connection.send(template % (number, number))

    def on_answer(connection: Connection, status: int, _: bytes) -> None:
        now = clock()
        if status == 200:
            times.append(now - sent_at[connection])
        else:
            others[status] = others.get(status, 0) + 1
        if now < deadline and status:
            send_next(connection)
        else:
            del sent_at[connection]
            if not sent_at:
                is_over.set()

    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(order["connections"]):
        _, connection = await loop.create_connection(
            lambda: Connection(on_answer), order["host"], order["port"]
        )
        connections.append(connection)
    started = clock()
    deadline = started + order["seconds"]
    for connection in connections:
        send_next(connection)
    async with asyncio.timeout(order["seconds"] + _ANSWER_SECONDS):
        await is_over.wait()
    took = clock() - started
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    return {"seconds": took, "times": times, "others": others, "last_number": number}


def main() -> None:
    result = uvloop.run(closed_loop(json.load(sys.stdin)))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
