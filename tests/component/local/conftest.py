"""A small platform (real NATS, real PostgreSQL) on a folder of its own and free ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from nats.js import api

from aristobot.contracts import nats_roles
from aristobot.contracts.streams import BUCKETS, STREAMS
from aristobot.local.nats_server import nats_spec, nats_url
from aristobot.local.postgres_server import database_url, postgres_spec
from aristobot.local.process import ProcessSpec
from aristobot.local.rundir import RunDir
from aristobot.local.supervisor import Supervisor
from aristobot.platform.nats_auth import Trust, create_trust
from tests.component.local.nats_users import Roles
from tests.harness.platform import port_range


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range from which the kernel takes client ports."""
    found: list[int] = []
    candidate = port_range(11_000)[0] + os.getpid() % 3_000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", candidate))
            found.append(candidate)
    return found


@dataclass
class Place:
    """One data folder with its ports."""

    data: Path
    nats_port: int
    postgres_port: int

    @property
    def run_dir(self) -> RunDir:
        return RunDir.create(self.data)

    @property
    def trust(self) -> Trust:
        return create_trust(self.data / "secrets" / "nats")

    @property
    def nats_url(self) -> str:
        return nats_url(self.nats_port)

    @property
    def database_url(self) -> str:
        return database_url(self.data / "secrets", self.postgres_port)

    def nats_spec(self) -> ProcessSpec:
        return nats_spec(
            data=self.data / "nats",
            port=self.nats_port,
            trust=self.trust,
            log_path=self.data / "logs" / "nats.log",
        )

    async def postgres_spec(self) -> ProcessSpec:
        return await postgres_spec(
            data=self.data / "postgres",
            secrets=self.data / "secrets",
            port=self.postgres_port,
            log_path=self.data / "logs" / "postgres.log",
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this folder: by its command line or by its working folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                place = str(self.data)
                if place in " ".join(process.cmdline()) or process.cwd().startswith(place):
                    found.append(process)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    nats_port, postgres_port = free_ports(2)
    place = Place(tmp_path / "data", nats_port, postgres_port)
    place.run_dir  # noqa: B018 - makes the folder
    yield place
    left = place.processes()
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert left == []


@pytest.fixture
async def supervisor(place: Place) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(place.run_dir)
    yield supervisor
    await supervisor.stop()


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], *, within_seconds: float = 10.0
) -> float:
    """Wait until `condition` holds; how long that took, in seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < within_seconds:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return loop.time() - began
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {within_seconds:g} s")


@dataclass
class TinyPlatform:
    """`tiny_platform.py` as a process of its own, to be killed as a whole."""

    process: asyncio.subprocess.Process
    pids: dict[str, int]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)


async def start_tiny_platform(place: Place) -> TinyPlatform:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("tiny_platform.py")),
        *(str(place.data), str(place.nats_port), str(place.postgres_port)),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    return TinyPlatform(process, json.loads(line))


@pytest.fixture
async def empty_server(place: Place, supervisor: Supervisor) -> AsyncIterator[Roles]:
    await supervisor.start(place.nats_spec())
    roles = Roles(place)
    yield roles
    await roles.close()


@pytest.fixture
async def roles(empty_server: Roles) -> Roles:
    """With the streams and buckets."""
    roles = empty_server
    admin = await roles.connect(nats_roles.admin())
    for stream in STREAMS:
        await admin.js.add_stream(
            api.StreamConfig(
                name=stream.name,
                subjects=list(stream.subjects),
                retention=api.RetentionPolicy(stream.retention.value),
                duplicate_window=stream.duplicate_window_seconds,
                allow_direct=True,
            )
        )
    for bucket in BUCKETS:
        await admin.js.create_key_value(api.KeyValueConfig(bucket=bucket, direct=True))
    return roles
