"""A scripted HTTP server on localhost: it records raw requests and answers what it was told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio

from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.binance.stream import StreamTimes
from aristobot.exchanges.binance.urls import urls_for

API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
API_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
PAYLOADS = Path(__file__).parent / "payloads"
QUICK = StreamTimes(
    open_within=2,
    reply_within=1,
    ping_every=0.2,
    pong_within=0.2,
    close_within=0.2,
    first_pause=0.02,
    longest_pause=0.1,
)


def payload_text(name: str) -> str:
    return (PAYLOADS / f"{name}.json").read_text()


def payload(name: str) -> Any:
    return json.loads(payload_text(name))


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What was signed over, wherever it travelled."""
        return self.target.partition("?")[2] + self.body


@dataclass(frozen=True)
class Reply:
    """`hang_up`: close without a word. `after`: seconds before the answer."""

    body: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    after: float = 0.0


class ScriptedVenue:
    """Answers `/api/v3/time` by itself; every other request takes the next scripted reply."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.script: deque[Reply] = deque()
        self.connections = 0
        self.time_ms: Callable[[], int] | None = None
        self.origin = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def orders(self) -> list[Request]:
        return [request for request in self.requests if request.path != "/api/v3/time"]

    def will(self, *replies: Reply) -> None:
        self.script.extend(replies)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has gone
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        first, *lines = head.rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode("ascii")
        request = Request(method, target, headers, body)
        self.requests.append(request)
        reply = self._reply_to(request)
        await asyncio.sleep(reply.after)
        if reply.hang_up:
            return False
        content = reply.body.encode()
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        start = f"HTTP/1.1 {reply.status} Status\r\n{extra}"
        writer.write(f"{start}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        return True

    def _reply_to(self, request: Request) -> Reply:
        if request.path == "/api/v3/time" and self.time_ms is not None:
            return Reply(json.dumps({"serverTime": self.time_ms()}))
        return self.script.popleft()


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[ScriptedVenue]:
    server = ScriptedVenue()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def client(venue: ScriptedVenue) -> AsyncIterator[BinanceClient]:
    made = make_client(venue.origin)
    yield made
    await made.close()


def make_client(origin: str, ws_url: str | None = None) -> BinanceClient:
    urls = urls_for("simulator", base_url=origin, ws_url=ws_url)
    return BinanceClient(urls, api_key=API_KEY, api_secret=API_SECRET, stream_times=QUICK)
