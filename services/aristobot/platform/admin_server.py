"""What every service answers about itself: /healthz, /readyz, /metrics; and how we run uvicorn.

Health says that the event loop turns, nothing else: a restart would cure nothing that readiness
reports. Services with an HTTP face of their own answer the three paths through `AdminFace`, the
others through `serve_admin`. Not here: what "ready" means, which each service says in its callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from aristobot.core.errors import Misconfigured
from aristobot.platform.metrics import REGISTRY

_logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Returns what keeps the service from working, one sentence each; nothing when it is ready.
Readiness = Callable[[], Sequence[str] | Awaitable[Sequence[str]]]

READINESS_TIMEOUT_SECONDS = 2.0
_JSON = "application/json"


class AdminFace:
    """ASGI app for the three paths; everything else is 404."""

    def __init__(self, readiness: Readiness, *, registry: CollectorRegistry = REGISTRY) -> None:
        self._readiness = readiness
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path not in {"/healthz", "/readyz", "/metrics"}:
            await _respond(send, 404, _JSON, b'{"error":"not found"}')
        elif scope["method"] not in {"GET", "HEAD"}:
            await _respond(send, 405, _JSON, b'{"error":"use GET"}', (b"allow", b"GET"))
        elif path == "/healthz":
            await _respond(send, 200, _JSON, b'{"status":"ok"}')
        elif path == "/readyz":
            problems = await self.problems()
            body = json.dumps({"ready": not problems, "problems": problems}).encode()
            await _respond(send, 503 if problems else 200, _JSON, body)
        else:
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
            encoder, content_type = choose_encoder(accept.decode("latin-1"))
            await _respond(send, 200, content_type, encoder(self._registry))

    async def problems(self) -> list[str]:
        """Ask the service; a check that fails or hangs is a problem itself."""
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
                answer = self._readiness()
                return list(await answer if inspect.isawaitable(answer) else answer)
        except TimeoutError:
            return [f"the readiness check took longer than {READINESS_TIMEOUT_SECONDS:g} s"]
        except Exception as error:
            # Whatever a check raises means "not ready"; the prober must get an answer.
            _logger.exception("readiness check failed")
            return [f"the readiness check failed: {type(error).__name__}"]


async def _respond(
    send: Send, status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]
) -> None:
    start = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP port (0: any free one). Raises Misconfigured, naming it, when it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(f"port {port} on {host} is in use by another program") from error
        raise Misconfigured(f"can't listen on {host}:{port}: {error.strerror or error}") from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: stopping is the service's own sequence."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def run_asgi(
    app: App,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    grace_seconds: float = 2.0,
    backlog: int = 2048,
) -> None:
    """Serve `app` on `listener` until `stop` is set; open requests get `grace_seconds` to end.

    No access log, no lifespan protocol, no Server or Date header, and the peer address is the
    socket's: whom a proxy speaks for is for the app to judge.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        http="httptools",
        ws="none",
        backlog=backlog,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
    )
    server = _Server(config)

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.create_task(end(), name="http-stop")
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        listener.close()


async def serve_admin(host: str, port: int, readiness: Readiness, stop: asyncio.Event) -> None:
    """Answer the three paths on a port of their own until `stop` is set."""
    await run_asgi(AdminFace(readiness), listen(host, port), stop)
