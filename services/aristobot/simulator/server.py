"""Running the simulator: one socket, uvicorn, and a stop within two seconds.

For uvloop the caller runs `serve` in its event loop (`uvloop.run`); HTTP is parsed by httptools.
Signals are the caller's: it sets the event.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aristobot.core.errors import Misconfigured
from aristobot.simulator.app import create_app
from aristobot.simulator.binance.rest import ABORT_EXTENSION
from aristobot.simulator.settings import SimulatorSettings

_PING_SECONDS = 20.0
_PONG_SECONDS = 60.0


class _CuttableProtocol(HttpToolsProtocol):
    """Lets the application cut its TCP connection, which ASGI alone cannot do."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, dict[object, object]] = {}
        self.scope["extensions"] = extensions
        # The ASGI type wants dictionaries as extensions; ours is a function for our own app.
        extensions[ABORT_EXTENSION] = self.transport.abort  # type: ignore[assignment]


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"cannot be used: {error.strerror}"
        raise Misconfigured(f"The simulator's address {host}:{port} {reason}.") from error
    return listener


async def serve(
    settings: SimulatorSettings,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until `stop` is set. `on_ready` gets the port when the socket listens.

    `Misconfigured` for a taken port or a data folder that cannot be used.
    """
    with _listen(settings.host, settings.port) as listener:
        server = _Server(
            uvicorn.Config(
                create_app(settings),
                http=_CuttableProtocol,
                ws="websockets-sansio",
                ws_ping_interval=_PING_SECONDS,
                ws_ping_timeout=_PONG_SECONDS,
                ws_per_message_deflate=False,
                access_log=False,
                log_config=None,
                server_header=False,
                lifespan="on",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )

        async def stop_when_told() -> None:
            await stop.wait()
            server.should_exit = True

        stopper = asyncio.create_task(stop_when_told(), name="simulator-stop")
        try:
            if on_ready is not None:
                on_ready(listener.getsockname()[1])
            await server.serve(sockets=[listener])
        finally:
            stopper.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it was cancelled just above
                await stopper
