"""A real platform, started by the `aristobot` command on a folder and ports of its own.

Tests talk to it as a user would: over HTTP, by the command line, and by asking the simulator with
clients that we did not write. Nothing of the product is imported to drive it; only its secrets
are read with its own code, since no command shows them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import psutil

from aristobot.cli.session import open_session

START_SECONDS = 90.0
_Found = TypeVar("_Found")


def free_port_base() -> int:
    """The first of 60 free ports in a row, below the range that the system gives out itself.

    Each worker of a parallel run has a range of its own.
    """
    low, high = port_range(20_000)
    start = low + (os.getpid() * 61) % (high - low)
    for base in [*range(start, high, 61), *range(low, start, 61)]:
        if all(_is_free(base + offset) for offset in range(30)):
            return base
    raise RuntimeError("no free ports")


def port_range(first: int) -> tuple[int, int]:
    """4,000 ports for this worker of a parallel run, from `first` on."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    low = first + 4_000 * (int(worker) % 2)
    return low, low + 4_000


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def eventually(
    look: Callable[[], _Found | None],
    *,
    seconds: float = 15.0,
    what: str = "it",
    pause_seconds: float = 0.15,
) -> _Found:
    """Look until there is something true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(pause_seconds)


@dataclass
class Platform:
    """`data`: its folder. Use `running_platform` or `start`/`stop`."""

    data: Path
    port_base: int
    arguments: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    #: What `python -m` runs as the `aristobot` command.
    module: str = "aristobot"
    output: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port_base}"

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.port_base + 2}"

    def start(self) -> None:
        """Run `aristobot up` until it says that it is ready."""
        log = self.data.with_name(self.data.name + ".up.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", self.module, "up", "--data", str(self.data)),
                    *("--port-base", str(self.port_base), "--host", "127.0.0.1"),
                    # What only takes alerts needs no candles, and starts sooner without.
                    *(() if "--speed" in self.arguments else ("--heartbeats", "0")),
                    *self.arguments,
                ],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while "ready after" not in (text := log.read_text(errors="replace")):
            assert self.process.poll() is None, f"aristobot up ended:\n{text}"
            assert time.monotonic() < deadline, f"aristobot up is not ready:\n{text}"
            time.sleep(0.02)
        self.output = text

    def stop(self) -> float:
        """SIGTERM; returns the seconds until the process was gone."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=15)
        return time.monotonic() - started

    def kill(self) -> None:
        """SIGKILL the whole tree at once."""
        if self.process is None:
            return
        family = [*psutil.Process(self.process.pid).children(recursive=True)]
        self.process.kill()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(timeout=15)
        psutil.wait_procs(family, timeout=10)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an `aristobot` command against this platform."""
        done = subprocess.run(
            [sys.executable, "-m", "aristobot", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **self.environment, "ARISTOBOT_DATA": str(self.data)},
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.run(*arguments).stdout)

    def webhooks(self, limit: int = 1000) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json("webhook", "list", "--json", "--limit", str(limit))
        return rows

    def orders(self, limit: int = 1000) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json("order", "list", "--json", "--limit", str(limit))
        return rows

    def webhook_url(self, broker: str = "demo") -> str:
        """What `aristobot webhook url` prints, and quicker."""
        return f"{self.base_url}/webhook/{self.secret(f'{broker}-webhook')['token']}"

    def apply(self, text: str) -> None:
        """Apply a YAML text."""
        file = self.data.with_name(self.data.name + ".apply.yaml")
        file.write_text(text)
        self.run("apply", "-f", str(file))

    def pids(self) -> dict[str, int]:
        """The process of each part that runs."""
        return {
            row["part"]: row["pid"]
            for row in self.json("status", "--json")
            if row["pid"] is not None
        }

    def secret(self, name: str) -> dict[str, str]:
        """A stored secret's values, from the product's own store: no command shows one."""

        async def work() -> dict[str, str]:
            async with open_session(self.data) as session:
                return await session.store().read_secret("demo", name)

        return asyncio.run(work())

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What a query finds in the platform's database, over all owners."""
        address = json.loads((self.data / "run" / "address").read_text())

        async def work() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(address["database_url"], timeout=10)
            try:
                await connection.execute("SELECT set_config('aristobot.owner', '*', false)")
                return [dict(row) for row in await connection.fetch(query, *values, timeout=30)]
            finally:
                await connection.close()

        return asyncio.run(work())

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """The trace's spans from the span store; empty while nothing of it is stored."""
        answer = httpx.get(
            f"http://127.0.0.1:{self.port_base + 1}/api/traces/{trace_id}",
            timeout=30,
            trust_env=False,
        )
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        spans: list[dict[str, Any]] = answer.json()["spans"]
        return spans

    def log_lines(self, part: str) -> list[dict[str, Any]]:
        """The JSON lines that a part of ours has logged."""
        text = (self.data / "logs" / f"{part}.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def simulator_orders(self, api_key: str | None = None) -> list[dict[str, Any]]:
        """Every order that the simulator ever accepted."""
        answer = httpx.get(
            f"{self.simulator_url}/control/orders",
            params={"api_key": api_key} if api_key else {},
            timeout=30,
            trust_env=False,
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def fault(self, **fault: Any) -> None:
        """Make the simulator misbehave."""
        answer = httpx.post(
            f"{self.simulator_url}/control/faults", json=fault, timeout=10, trust_env=False
        )
        answer.raise_for_status()


@contextlib.contextmanager
def running_platform(data: Path, *arguments: str, **environment: str) -> Iterator[Platform]:
    """A started platform; stopped afterwards, whatever happened."""
    platform = Platform(data, free_port_base(), arguments, environment)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()
