"""`aristobot up` from start to end: what it refuses, what it leaves behind, and what survives.

Starting costs seconds, so a test here follows one platform through several events.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from tests.e2e.bad_requests import alert
from tests.e2e.brokers import broker, post, wait_until_ready
from tests.e2e.collector import running_collector
from tests.harness.platform import Platform, eventually, free_port_base, running_platform
from tests.harness.servers import nats_server, postgres_server

DEAD_COLLECTOR = "http://127.0.0.1:1"
STOP_SECONDS = 5.0
#: One span of each service, the last of them the order's call to the exchange.
JOURNEY = {
    ("ingress", "POST /webhook"),
    ("engine", "record webhook"),
    ("gateway", "POST binance"),
}


@dataclass(frozen=True)
class Snapshot:
    """All that a user could miss after a restart."""

    webhooks: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    balances: list[dict[str, Any]]
    at_the_exchange: list[dict[str, Any]]
    webhook_url: str


def _allowed_seconds() -> float:
    """For stopping: 5 s, and as much more as the machine's processors are wanted by others."""
    return STOP_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _snapshot(platform: Platform, name: str = "demo") -> Snapshot:
    return Snapshot(
        platform.rows("SELECT * FROM webhooks ORDER BY received_at DESC"),
        platform.rows("SELECT * FROM orders ORDER BY created_at DESC"),
        platform.json("balance", name, "--json"),
        platform.simulator_orders(),
        platform.webhook_url(name),
    )


def _order_of(platform: Platform, webhook_id: str) -> dict[str, Any]:
    """The filled order that a webhook led to."""

    def look() -> dict[str, Any] | None:
        rows = platform.rows(
            "SELECT client_order_id, status, trace_id FROM orders WHERE source_id = $1", webhook_id
        )
        return rows[0] if rows and rows[0]["status"] == "filled" else None

    return eventually(look, seconds=40, what=f"the order of webhook {webhook_id} being filled")


def _trade(platform: Platform, indicator: str, name: str = "demo") -> str:
    """Send an alert, wait for its fill; returns the trace id."""
    answer = post(platform.webhook_url(name), alert(indicator))
    assert answer.status_code == 200, answer.text
    order = _order_of(platform, answer.json()["id"])
    there = [found["client_id"] for found in platform.simulator_orders()]
    assert there.count(order["client_order_id"]) == 1
    return str(answer.json()["trace_id"])


def _refusal(data: Path, port_base: int, **environment: str) -> str:
    """What `aristobot up` says when it can't start: one line, and nothing is left running."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "aristobot", "up", "--data", str(data)),
            *("--port-base", str(port_base), "--host", "127.0.0.1"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("aristobot: ")
    return line


def _processes_of(data: Path) -> list[psutil.Process]:
    """Everything that works on or in the folder, by its arguments, folder or environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            place = str(data)
            told = " ".join([*process.cmdline(), *process.environ().values()])
            if place in told or process.cwd().startswith(place):
                found.append(process)
    return found


@contextmanager
def _started(platform: Platform) -> Iterator[None]:
    """Start a platform; whatever happens, nothing of it is left afterwards."""
    try:
        platform.start()
        yield
    finally:
        platform.stop()


def _stop(platform: Platform, number: signal.Signals) -> None:
    """Stop by a signal to the whole group, as a terminal sends it, and see that all is gone."""
    assert platform.process is not None
    family = psutil.Process(platform.process.pid).children(recursive=True)
    assert len(family) > 5
    started = time.monotonic()
    os.killpg(platform.process.pid, number)
    assert platform.process.wait(15) == 0
    assert time.monotonic() - started < _allowed_seconds()
    assert not [process for process in family if process.is_running()]
    assert _processes_of(platform.data) == []


@pytest.mark.timeout(300)
def test_what_was_done_survives_stop_and_kill(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "data", free_port_base())
    with _started(platform):
        _trade(platform, "before the stop")
        before = _snapshot(platform)
        said = _refusal(platform.data, free_port_base())
        assert str(platform.data) in said
        assert platform.process is not None
        assert f"process {platform.process.pid}" in said
        said = _refusal(tmp_path / "other", platform.port_base)
        assert f"port {platform.port_base} (for ingress) is taken" in said
        assert "--port-base" in said
        assert _snapshot(platform) == before, "a refused start touches nothing"
        _stop(platform, signal.SIGTERM)

    # Nobody listens where the spans are to go: nothing waits for it.
    platform.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": DEAD_COLLECTOR}
    with _started(platform):
        assert _snapshot(platform) == before
        _trade(platform, "with a dead collector")
        answer = post(before.webhook_url, alert("just before the kill"))
        assert answer.status_code == 200
        platform.kill()
        assert _processes_of(platform.data) == []

    with running_collector() as collector:
        platform.environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with _started(platform):
            order = _order_of(platform, answer.json()["id"])
            assert order["trace_id"] == answer.json()["trace_id"]
            after = _snapshot(platform)
            assert after.webhook_url == before.webhook_url
            assert after.webhooks[-len(before.webhooks) :] == before.webhooks
            assert len(after.webhooks) == len(before.webhooks) + 2
            assert len(after.at_the_exchange) == len(after.orders) == len(before.orders) + 2
            trace_id = _trade(platform, "after the kill")
            eventually(
                lambda: collector.of_trace(trace_id) >= JOURNEY,
                what="the configured collector getting the spans",
            )
            shown = platform.run("trace", "show", trace_id, check=False)
            assert shown.returncode == 1, "the spans go there instead, not here as well"
            _stop(platform, signal.SIGINT)

    _damage(platform)


def _damage(platform: Platform) -> None:
    """A folder that was damaged while the platform was down is named, and is left alone."""
    control = platform.data / "postgres" / "global" / "pg_control"
    whole = control.read_bytes()
    control.unlink()
    said = _refusal(platform.data, platform.port_base)
    assert str(platform.data / "postgres") in said
    assert "damaged" in said
    assert "backup" in said
    control.write_bytes(bytes(len(whole)))
    os.chown(control, *_owner(control.parent))
    said = _refusal(platform.data, platform.port_base)
    assert "postgres" in said
    assert str(platform.data / "logs" / "postgres.log") in said
    control.write_bytes(whole)
    keys = platform.data / "secrets" / "fernet.keys"
    kept = keys.read_bytes()
    keys.write_bytes(b"no key\n")
    assert str(keys) in _refusal(platform.data, platform.port_base)
    keys.write_bytes(kept)
    assert _processes_of(platform.data) == []


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("somebody's notes")
    base = free_port_base()
    for data in (file, file / "below", Path("/proc/aristobot")):
        said = _refusal(data, base)
        assert str(data) in said
        assert "--data" in said
    assert file.read_text() == "somebody's notes"
    said = _refusal(tmp_path / "x", 65_530)
    assert "port 65550 (for the first gateway) does not exist" in said


def test_a_stop_while_starting_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "aristobot", "up", "--data", str(data)),
            *("--port-base", str(free_port_base()), "--host", "127.0.0.1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    eventually(lambda: (data / "run" / "nats.json").exists(), seconds=30, what="its first part")
    started = time.monotonic()
    process.terminate()
    output, errors = process.communicate(timeout=15)
    assert time.monotonic() - started < _allowed_seconds()
    assert (process.returncode, errors) == (0, b"")
    assert b"ready after" not in output
    eventually(lambda: _processes_of(data) == [], seconds=2, what="everything being gone")


def test_two_platforms_side_by_side_one_in_the_background(
    platform: Platform, tmp_path: Path
) -> None:
    before = _snapshot(platform)
    other = Platform(tmp_path / "other", free_port_base())
    up = other.run(
        *("up", "--detach", "--data", str(other.data), "--host", "127.0.0.1"),
        *("--port-base", str(other.port_base)),
    )
    try:
        assert "ready after" in up.stdout
        assert "aristobot down" in up.stdout
        states = other.json("status", "--json")
        wanted = {"nats", "postgres", "simulator", "ingress", "engine", "api"}
        wanted |= {"gateway-demo.demo", *(f"heartbeat-binance-simulator-{r}" for r in "ab")}
        assert {row["part"] for row in states} == wanted
        assert {row["state"] for row in states} == {"ready"}
        assert "ready" in other.run("status").stdout
        assert other.webhook_url() in up.stdout
        _trade(other, "beside another")
        assert post(before.webhook_url, b"x").status_code == 200
        token = before.webhook_url.rpartition("/")[2]
        assert post(f"{other.base_url}/webhook/{token}", b"x").status_code == 401
        again = other.run("up", "--detach", "--data", str(other.data), check=False)
        assert again.returncode == 1
        assert "running on" in again.stderr
        assert other.run("status").returncode == 0, "and it still runs"
        own = other.secret("demo-webhook")["token"]
        for file in (other.data / "logs").iterdir():
            assert own not in file.read_text(errors="replace"), file
    finally:
        down = other.run("down", check=False)
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    eventually(lambda: _processes_of(other.data) == [], seconds=2, what="all being gone")
    gone = other.run("status", check=False)
    assert gone.returncode == 3
    assert "no platform runs" in gone.stdout
    assert "no platform runs" in other.run("down").stdout
    after = _snapshot(platform)
    assert (after.orders, after.balances) == (before.orders, before.balances)


def test_servers_that_are_there_are_used(tmp_path: Path) -> None:
    for name in ("nats", "postgres"):
        (tmp_path / name).mkdir()
    with (
        nats_server(tmp_path / "nats") as nats_url,
        postgres_server(tmp_path / "postgres") as database_url,
    ):
        with running_platform(
            tmp_path / "data",
            *("--no-demo", "--nats-url", nats_url, "--database-url", database_url),
            OTEL_EXPORTER_OTLP_ENDPOINT=DEAD_COLLECTOR,
        ) as platform:
            assert platform.rows("SELECT * FROM resources") == [], "--no-demo"
            assert "/webhook/" not in platform.output
            platform.apply(broker("own"))
            wait_until_ready(platform, "own")
            _trade(platform, "elsewhere", "own")
            assert not {"nats", "postgres"} & platform.pids().keys()
            assert not (platform.data / "postgres").exists()
            assert not (platform.data / "nats").exists()
            assert platform.run("doctor", check=False).returncode == 0
            assert platform.stop() < _allowed_seconds()
        assert asyncio.run(_orders_in(database_url)) == 1, "the server and its data stay"


async def _orders_in(database_url: str) -> int:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute("SELECT set_config('aristobot.owner', '*', false)")
        return int(await connection.fetchval("SELECT count(*) FROM orders", timeout=10))
    finally:
        await connection.close()


@pytest.mark.parametrize("option", ["--nats-url", "--database-url"])
def test_a_server_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    url = "nats://127.0.0.1:1" if option == "--nats-url" else "postgresql://u:pass@127.0.0.1:1/x"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "aristobot", "up", "--data", str(tmp_path / "data")),
            *("--port-base", str(free_port_base()), option, url),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "answers at 127.0.0.1:1:" in line
    assert option in line
    assert "u:pass" not in line
    assert _processes_of(tmp_path / "data") == []
