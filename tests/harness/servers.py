"""Single servers for tests: a real PostgreSQL with our schema, a real NATS with our streams."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aristobot.local import launch
from aristobot.local.nats_server import find_binary
from aristobot.local.postgres_server import database_url, postgres_spec
from aristobot.platform.admin_server import listen
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from aristobot.platform.migrate import migrate


def free_port() -> int:
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    listener.close()
    return port


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """A migrated database; yields the URL of the role that services use."""
    secrets = folder / "secrets"
    secrets.mkdir()
    port = free_port()
    spec = asyncio.run(
        postgres_spec(data=folder / "postgres", secrets=secrets, port=port, log_path=folder / "log")
    )
    assert spec.ready is not None
    with spec.log_path.open("ab") as log:
        process = subprocess.Popen(
            launch.command(spec.argv, user=spec.user, death_signal=spec.parent_death_signal),
            env=dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        give_up_at = time.monotonic() + 30
        while not asyncio.run(_is_ready(spec.ready)):
            assert process.poll() is None, spec.log_path.read_text()
            assert time.monotonic() < give_up_at
        url = database_url(secrets, port)
        asyncio.run(_migrate(url))
        yield url
    finally:
        process.send_signal(spec.stop_signal)
        process.wait(10)


async def _is_ready(ready: Callable[[], Awaitable[bool]]) -> bool:
    answer = await ready()
    await asyncio.sleep(0.05)
    return answer


async def _migrate(url: str) -> None:
    database = Database(url, service="test")
    try:
        await migrate(database)
    finally:
        await database.close()


@contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """A server without users, with our streams and buckets; yields its URL."""
    port = free_port()
    process = subprocess.Popen(
        [str(find_binary()), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"nats://127.0.0.1:{port}"
    try:
        asyncio.run(_make_streams(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


async def _make_streams(url: str) -> None:
    bus = await Bus.connect(url, name="test", timeout_seconds=20)
    await bus.ensure_streams()
    await bus.close()
