"""The embedded NATS and PostgreSQL: start, stop, sudden death, and folders that are no good."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest
from nats.js import JetStreamContext, api

from aristobot.contracts import nats_roles
from aristobot.core.errors import Misconfigured
from aristobot.local import postgres_user
from aristobot.local.postgres_init import check_folder
from aristobot.local.postgres_server import (
    clear_the_way,
    find_binaries,
    postgres_spec,
    superuser_url,
)
from aristobot.local.process import ProcessSpec
from aristobot.local.supervisor import Supervisor
from aristobot.platform.nats_auth import issue_role, write_private
from tests.component.local.conftest import (
    Place,
    eventually,
    free_ports,
    start_tiny_platform,
)


@contextlib.asynccontextmanager
async def database(place: Place) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(place.database_url, timeout=5, command_timeout=5)
    try:
        yield connection
    finally:
        await connection.close(timeout=2)


@contextlib.asynccontextmanager
async def jetstream(place: Place) -> AsyncIterator[JetStreamContext]:
    """As a user that may do anything in the account: what is tested is the server."""
    file = place.data / "all.creds"
    write_private(
        file,
        issue_role(
            place.trust,
            replace(
                nats_roles.admin(), publish_allow=(">",), subscribe_allow=(">",), publish_deny=()
            ),
        ),
    )
    client = await nats.connect(
        place.nats_url, user_credentials=str(file), allow_reconnect=False, connect_timeout=3
    )
    try:
        yield client.jetstream(timeout=3)
    finally:
        await client.close()


async def _spec_as(place: Place, way: postgres_user.RunAs) -> ProcessSpec:
    return await postgres_spec(
        data=place.data / "postgres",
        secrets=place.data / "secrets",
        port=place.postgres_port,
        log_path=place.data / "logs" / "postgres.log",
        run_as=way,
    )


async def _write_both(place: Place, number: int) -> None:
    async with database(place) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (number int PRIMARY KEY)")
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
    async with jetstream(place) as js:
        await js.add_stream(api.StreamConfig(name="KEPT", subjects=["kept"]))
        ack = await js.publish("kept", b"%d" % number, headers={"Nats-Msg-Id": str(number)})
        assert not ack.duplicate


async def _has_both(place: Place, *numbers: int) -> None:
    async with database(place) as connection:
        rows = await connection.fetch("SELECT number FROM kept ORDER BY number")
        assert [row["number"] for row in rows] == list(numbers)
    async with jetstream(place) as js:
        assert (await js.stream_info("KEPT")).state.messages == len(numbers)
        for number in numbers:
            ack = await js.publish("kept", b"again", headers={"Nats-Msg-Id": str(number)})
            assert ack.duplicate


async def test_both_start_and_stop_quickly_and_keep_their_data(place: Place) -> None:
    times = []
    for start in range(2):
        supervisor = Supervisor(place.run_dir)
        began = time.monotonic()
        await supervisor.start(place.nats_spec(), await place.postgres_spec())
        times.append(time.monotonic() - began)
        if start == 0:
            await _write_both(place, 1)
        await _has_both(place, 1)
        began = time.monotonic()
        await supervisor.stop()
        assert time.monotonic() - began < 5
        assert place.processes() == []
    print(f"first start {times[0]:.2f} s, second start {times[1]:.2f} s")
    assert times[0] < 15
    assert times[1] < 5


async def test_each_part_killed_three_times_comes_back_with_its_data(
    place: Place, supervisor: Supervisor
) -> None:
    await supervisor.start(place.nats_spec(), await place.postgres_spec())
    await _write_both(place, 1)
    for _ in range(3):
        for name in ("nats", "postgres"):
            state = supervisor.state(name)
            assert state is not None
            assert state.pid is not None
            killed = state.pid
            os.kill(killed, signal.SIGKILL)

            def is_back(name: str = name, killed: int = killed) -> bool:
                now = supervisor.state(name)
                return now is not None and now.ready and now.pid != killed

            assert await eventually(is_back) < 6
        await _has_both(place, 1)
    assert {state.name: state.restarts for state in supervisor.states()} == {
        "nats": 3,
        "postgres": 3,
    }


async def test_busy_backends_of_a_killed_server_are_no_obstacle(
    place: Place, supervisor: Supervisor
) -> None:
    """A stopped backend can't notice its server's death, and holds the shared memory."""
    await supervisor.start(await place.postgres_spec())
    connection = await asyncpg.connect(place.database_url, timeout=5)
    backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    state = supervisor.state("postgres")
    assert state is not None
    assert state.pid is not None
    backend.suspend()
    os.kill(state.pid, signal.SIGKILL)
    await eventually(lambda: (now := supervisor.state("postgres")) is not None and not now.ready)
    took = await eventually(lambda: (now := supervisor.state("postgres")) is not None and now.ready)
    assert took < 5
    connection.terminate()
    async with database(place) as fresh:
        assert await fresh.fetchval("SELECT 1") == 1


async def test_the_whole_tree_killed_and_started_again(place: Place) -> None:
    platform = await start_tiny_platform(place)
    await _write_both(place, 1)
    for pid in (platform.process.pid, *platform.pids.values()):
        os.kill(pid, signal.SIGKILL)
    await platform.process.wait()
    again = await start_tiny_platform(place)
    await _has_both(place, 1)
    again.process.terminate()
    assert await asyncio.wait_for(again.process.wait(), 5) == 0
    assert place.processes() == []


async def test_a_killed_supervisor_leaves_no_server(place: Place) -> None:
    """At once on Linux; elsewhere the next start stops what was left."""
    platform = await start_tiny_platform(place)
    await _write_both(place, 1)
    platform.kill()
    await platform.process.wait()
    if os.uname().sysname == "Linux":
        assert await eventually(lambda: place.processes() == [], within_seconds=5) < 3
    again = await start_tiny_platform(place)
    await _has_both(place, 1)
    again.process.terminate()
    assert await asyncio.wait_for(again.process.wait(), 5) == 0
    assert place.processes() == []


async def test_two_platforms_side_by_side(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path / "other", *free_ports(4)[2:])
    other.run_dir  # noqa: B018 - makes the folder
    supervisors = [Supervisor(each.run_dir) for each in (place, other)]
    try:
        for each, supervisor in zip((place, other), supervisors, strict=True):
            await supervisor.start(each.nats_spec(), await each.postgres_spec())
        await _write_both(place, 1)
        await _write_both(other, 2)
        await _has_both(place, 1)
        await _has_both(other, 2)
    finally:
        await asyncio.gather(*(supervisor.stop() for supervisor in supervisors))
    assert other.processes() == []


async def test_the_role_is_no_superuser_and_needs_its_password(
    place: Place, supervisor: Supervisor
) -> None:
    await supervisor.start(await place.postgres_spec())
    async with database(place) as connection:
        row = await connection.fetchrow(
            "SELECT rolsuper, current_database() AS db, current_setting('fsync') AS fsync,"
            " current_setting('data_checksums') AS sums, current_setting('server_encoding') AS enc,"
            " current_setting('synchronous_commit') AS sync, 'é' < 'f' AS by_code,"
            " upper('é') AS upper FROM pg_roles WHERE rolname = current_user"
        )
        assert row is not None
        assert tuple(row) == (False, "aristobot", "on", "on", "UTF8", "on", False, "É")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            f"postgresql://aristobot:wrong@127.0.0.1:{place.postgres_port}/aristobot", timeout=5
        )
    connection = await asyncpg.connect(
        superuser_url(place.data / "secrets", place.postgres_port), timeout=5
    )
    await connection.close()
    for file in (place.data / "secrets").glob("postgres*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        # No password is in a process's arguments, in the log or in the configuration.
        password = file.read_text().strip()
        for process in place.processes():
            assert password not in " ".join(process.cmdline())
        assert password not in (place.data / "logs" / "postgres.log").read_text()


async def test_lost_password_files_are_made_anew(place: Place) -> None:
    await place.postgres_spec()
    old = place.database_url
    shutil.rmtree(place.data / "secrets")
    supervisor = Supervisor(place.run_dir)
    try:
        await supervisor.start(await place.postgres_spec())
        assert place.database_url != old
        async with database(place) as connection:
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        await supervisor.stop()


async def test_an_odd_name_and_a_link_to_another_disk_are_no_obstacle(
    place: Place, tmp_path: Path
) -> None:
    disk = tmp_path / "bîg disk"
    disk.mkdir()
    place.data = tmp_path / 'dâta "x" $HOME'
    supervisor = Supervisor(place.run_dir)
    (place.data / "postgres").symlink_to(disk)
    try:
        await supervisor.start(place.nats_spec(), await place.postgres_spec())
        await _write_both(place, 1)
        await _has_both(place, 1)
    finally:
        await supervisor.stop()
    assert (place.data / "postgres").is_symlink()
    assert (disk / "PG_VERSION").exists()
    assert (place.data / "nats" / "jetstream").exists()


async def test_an_interrupted_initialisation_is_begun_again(place: Place) -> None:
    half = place.data / ".postgres-new-abcd"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    (place.data / "postgres").mkdir()  # empty: nothing can be lost
    await place.postgres_spec()
    assert check_folder(place.data / "postgres")
    assert not half.exists()
    assert not list(place.data.glob(".postgres-new-*"))


@pytest.mark.parametrize("pid", ["init", "ours", "gone", "nonsense"])
async def test_a_pid_file_that_lies_is_no_obstacle(
    place: Place, supervisor: Supervisor, pid: str
) -> None:
    spec = await place.postgres_spec()
    number = {"init": "1", "ours": str(os.getpid()), "gone": "999999999", "nonsense": "x"}[pid]
    if pid != "nonsense":
        (place.data / "postgres" / "postmaster.pid").write_text(
            f"{number}\n{place.data / 'postgres'}\n1\n{place.postgres_port}\n\n127.0.0.1\n"
        )
    else:
        (place.data / "postgres" / "postmaster.pid").write_bytes(b"\xff\xfe")
        await clear_the_way(place.data / "postgres")
        (place.data / "postgres" / "postmaster.pid").unlink()
    await supervisor.start(spec)
    async with database(place) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_server_left_on_the_folder_is_stopped(place: Place, supervisor: Supervisor) -> None:
    """Without any record of it, as after the run folder was lost."""
    first = Supervisor(place.run_dir)
    spec = await place.postgres_spec()
    await first.start(spec)
    state = first.state("postgres")
    assert state is not None
    assert state.pid is not None
    await clear_the_way(place.data / "postgres")
    assert not psutil.pid_exists(state.pid) or (
        psutil.Process(state.pid).status() == psutil.STATUS_ZOMBIE
    )
    await first.stop()
    await supervisor.start(spec)


def _damage(folder: Path, how: str) -> None:
    match how:
        case "a file":
            shutil.rmtree(folder)
            folder.write_text("mine")
        case "foreign files":
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / "thesis.txt").write_text("mine")
        case "dangling link":
            shutil.rmtree(folder)
            folder.symlink_to(folder.parent / "nowhere")
        case "version missing":
            (folder / "PG_VERSION").unlink()
        case "version binary":
            (folder / "PG_VERSION").write_bytes(b"\xff\xfe")
        case "version of another major":
            (folder / "PG_VERSION").write_text("16\n")
        case "control file missing":
            (folder / "global" / "pg_control").unlink()


@pytest.mark.parametrize(
    "how",
    [
        "a file",
        "foreign files",
        "dangling link",
        "version missing",
        "version binary",
        "version of another major",
        "control file missing",
    ],
)
async def test_a_damaged_folder_is_named_and_kept(place: Place, how: str) -> None:
    await place.postgres_spec()
    folder = place.data / "postgres"
    _damage(folder, how)
    before = sorted(folder.rglob("*")) if folder.is_dir() else os.lstat(folder)
    with pytest.raises(Misconfigured) as caught:
        await place.postgres_spec()
    message = str(caught.value)
    assert str(folder) in message
    assert "--data" in message
    assert "\n" not in message
    assert (sorted(folder.rglob("*")) if folder.is_dir() else os.lstat(folder)) == before
    assert not list(place.data.glob(".postgres-new-*"))


async def test_a_damaged_control_file_is_told_in_postgresqls_words(place: Place) -> None:
    spec = await place.postgres_spec()
    (place.data / "postgres" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    supervisor = Supervisor(place.run_dir)
    try:
        with pytest.raises(Misconfigured, match=r"postgres does not get ready .*postgres\.log"):
            await supervisor.start(spec)
    finally:
        await supervisor.stop()


async def test_an_unusable_nats_folder_is_named(place: Place) -> None:
    (place.data / "nats").write_text("mine")
    with pytest.raises(Misconfigured, match=rf"{place.data / 'nats'}.*--data"):
        place.nats_spec()


async def test_a_place_where_no_cluster_can_be_made_is_named(place: Place) -> None:
    place.data = Path("/proc/aristobot")
    with pytest.raises(Misconfigured, match=r"/proc/aristobot|/proc"):
        await place.postgres_spec()
    place.data = Path("/nonexistent")


async def test_a_taken_port_is_named_by_the_part_that_needs_it(place: Place) -> None:
    """When it was taken after the check: the server's own words reach the user."""
    listener = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", place.nats_port)
    supervisor = Supervisor(place.run_dir)
    try:
        with pytest.raises(Misconfigured, match=r"nats does not get ready.*address already in use"):
            await supervisor.start(place.nats_spec())
    finally:
        await supervisor.stop()
        listener.close()


if os.geteuid() == 0:  # the ways of root exist for root alone

    @pytest.mark.parametrize("way", list(postgres_user.candidates(0)), ids=lambda w: w.description)
    async def test_root_runs_postgresql_either_way(
        place: Place, supervisor: Supervisor, way: postgres_user.RunAs, tmp_path: Path
    ) -> None:
        os.chmod(tmp_path, 0o700)  # as /root is
        await supervisor.start(await _spec_as(place, way))
        async with database(place) as connection:
            await connection.execute("CREATE TABLE t (x int)")
        state = supervisor.state("postgres")
        assert state is not None
        assert state.pid is not None
        owner = 0 if way.owner is None else way.owner
        assert psutil.Process(state.pid).uids().real == owner
        await supervisor.stop()
        state = supervisor.state("postgres")
        assert state is not None
        assert "database system is shut down" in (place.data / "logs" / "postgres.log").read_text()

    async def test_a_folder_moved_between_the_ways_of_root_still_starts(place: Place) -> None:
        namespace, dropped = postgres_user.candidates(0)
        await _spec_as(place, namespace)
        spec = await _spec_as(place, dropped)
        assert (place.data / "postgres" / "PG_VERSION").stat().st_uid == dropped.owner
        # By itself it stays with the folder's owner.
        chosen = postgres_user.choose(place.data / "postgres", find_binaries() / "postgres")
        assert chosen.owner == dropped.owner
        supervisor = Supervisor(place.run_dir)
        await supervisor.start(spec)
        await supervisor.stop()

    async def test_where_root_has_no_way_it_is_told(
        place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_user, "_works", lambda *_: False)
        with pytest.raises(Misconfigured, match=r"does not run as root.*ordinary user"):
            await place.postgres_spec()
