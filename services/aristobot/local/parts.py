"""What each part of the embedded platform is as a process: arguments, environment, readiness.

Parts get a small environment made here, not the user's: a strategy or a gateway must not inherit
whatever secrets the terminal happened to hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aristobot.local.layout import Layout, Ports
from aristobot.local.process import ProcessSpec
from aristobot.platform import settings
from aristobot.platform.sandbox.availability import ALLOW_UNSEALED

HOST = "127.0.0.1"

#: What a Python program needs of its surroundings; proxies and certificates for real exchanges.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "NO_PROXY",
    settings.LOG_LEVEL,
    ALLOW_UNSEALED,
)
#: Services are stopped before the servers that they talk to.
SERVICE_STAGE = 2
SIMULATOR_STAGE = 1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all parts share. `nats_credentials` maps a role to its file; None: no users."""

    layout: Layout
    ports: Ports
    nats_url: str
    database_url: str
    otlp_endpoint: str
    simulator_url: str
    nats_credentials: Callable[[str], str | None]

    def environment(
        self, role: str, *, database: bool, admin_port: int | None = None
    ) -> dict[str, str]:
        """The environment of a part with the NATS user of `role`."""
        values = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        values |= {
            "PYTHONUNBUFFERED": "1",
            settings.NATS_URL: self.nats_url,
            settings.OTLP_ENDPOINT: self.otlp_endpoint,
        }
        credentials = self.nats_credentials(role)
        if credentials is not None:
            values[settings.NATS_CREDENTIALS] = credentials
        if database:
            values[settings.DATABASE_URL] = self.database_url
        if admin_port is not None:
            values[settings.ADMIN_PORT] = str(admin_port)
        return values


def service(
    around: Surroundings,
    name: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    probe_port: int | None,
    probe_path: str = "/readyz",
    stage: int = SERVICE_STAGE,
) -> ProcessSpec:
    """One of our own programs; ready when its probe answers 200."""
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", "aristobot", *arguments),
        environment=environment,
        log_path=around.layout.log(name),
        stage=stage,
        ready=_probe(probe_port, probe_path) if probe_port is not None else None,
        ready_timeout_seconds=60.0,
    )


def _probe(port: int, path: str) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return await answers_ok(port, path)

    return ask


async def answers_ok(port: int, path: str) -> bool:
    """Whether GET `path` on the local `port` answers 200. Raises OSError when nobody listens."""
    async with asyncio.timeout(1.0):
        reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(2.5):
            status = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):  # the other side may have closed it
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
    return b" 200 " in status


def ingress(around: Surroundings, *, host: str, extra: tuple[str, ...]) -> ProcessSpec:
    port = around.ports.ingress
    return service(
        around,
        "ingress",
        ("ingress", "--host", host, "--port", str(port), *extra),
        around.environment("ingress", database=False),
        probe_port=port,
    )


def engine(around: Surroundings) -> ProcessSpec:
    port = around.ports.engine_admin
    return service(
        around,
        "engine",
        ("engine",),
        around.environment("engine", database=True, admin_port=port),
        probe_port=port,
    )


def runner(around: Surroundings) -> ProcessSpec:
    port = around.ports.runner_admin
    return service(
        around,
        "runner",
        ("runner",),
        around.environment("runner", database=False, admin_port=port),
        probe_port=port,
    )


def api(around: Surroundings) -> ProcessSpec:
    port = around.ports.api
    return service(
        around,
        "api",
        ("api", "--port", str(port)),
        around.environment("api", database=True),
        probe_port=port,
        probe_path="/healthz",
    )


def simulator(around: Surroundings, *, extra: tuple[str, ...] = ()) -> ProcessSpec:
    port = around.ports.simulator
    return service(
        around,
        "simulator",
        ("simulator", "--port", str(port), "--state", str(around.layout.simulator), *extra),
        around.environment("simulator", database=False),
        probe_port=port,
        probe_path="/api/v3/ping",
        stage=SIMULATOR_STAGE,
    )
