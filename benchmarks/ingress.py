"""Section 1: what ingress accepts per second, beside the floor, both in the same minutes.

Rounds of floor and ingress alternate, so that whatever else the machine does hits both; medians
are compared. Both publish to the same stream of the same NATS server (every write synced before
it is acknowledged) and get the same bytes from the same sender. The engine is stopped with
SIGSTOP meanwhile: what it does with the webhooks afterwards is another section's. The api runs and
stores ingress's spans, as in production; after each round the spans' way is left to settle.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from tests.harness.platform import Platform, running_platform

from aristobot.contracts.nats_roles import ingress as ingress_role
from benchmarks.bodies import REAL_BODY
from benchmarks.http_load import post_template
from benchmarks.report import Section, percentile, spread_percent

CONNECTIONS = 32
_HOST = "127.0.0.1"
_FLOOR_OFFSET = 9  # of the ports that `free_port_base` found free
_SETTLE_SECONDS = 1.0


@dataclass(slots=True)
class _Side:
    """One of the two that are compared, and what its rounds brought."""

    name: str
    port: int
    path: str
    pid: int
    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


def run(folder: Path, *, quick: bool) -> Section:
    rounds, seconds = (5, 1.0) if quick else (15, 2.0)
    with running_platform(folder / "data") as platform:
        path = urlsplit(platform.webhook_url("demo")).path
        with _stopped(platform.pids()["engine"]), _floor(platform) as (port, pid):
            floor = _Side("floor", port, "/webhook", pid)
            ingress = _Side("ingress", platform.port_base, path, platform.pids()["ingress"])
            number = 0
            for side in (floor, ingress):
                number = _round(side, 1.0, number, is_warm_up=True)
            for _ in range(rounds):
                for side in (floor, ingress):
                    number = _round(side, seconds, number)
            dropped = _metric(platform, "aristobot_spans_dropped_total")
        sent = sum(map(float, ingress.rates)) * seconds
    return _section(floor, ingress, dropped, sent)


def _section(floor: _Side, ingress: _Side, dropped: float, sent: float) -> Section:
    section = Section(f"Ingress: {CONNECTIONS} connections, {len(REAL_BODY)} bytes, one process")
    for side in (ingress, floor):
        spread = f"spread of rounds {spread_percent(side.rates):.0f} %"
        section.add(f"{side.name} requests", statistics.median(side.rates), "1/s", note=spread)
        section.add(f"{side.name} p50", statistics.median(side.p50_ms), "ms")
        section.add(f"{side.name} p99", statistics.median(side.p99_ms), "ms")
        section.add(f"{side.name} CPU per request", statistics.median(side.cpu_us), "us")
        if side.others:
            section.notes.append(f"{side.name}: not 200 (not counted): {side.others}")
    ratios = [a / b for a, b in zip(ingress.rates, floor.rates, strict=True)]
    low, high = min(ratios), max(ratios)
    section.add(
        "ratio of requests",
        statistics.median(ratios),
        "",
        at_least=0.8,
        note=f"median of {len(ratios)} pairs, {low:.2f} to {high:.2f}",
    )
    section.add(
        "ratio by CPU per request",
        statistics.median(floor.cpu_us) / statistics.median(ingress.cpu_us),
        "",
        note="floor / ingress: what is left of the ratio without the neighbours' noise",
    )
    section.add("spans dropped", 100 * dropped / max(1.0, 2 * sent), "%", note="two per request")
    section.notes.append(
        "same NATS server and stream, sync_interval always; engine stopped (SIGSTOP), api storing "
        "ingress's spans"
    )
    section.raw = {
        side.name: {
            "requests_per_second": side.rates,
            "p50_ms": side.p50_ms,
            "p99_ms": side.p99_ms,
            "cpu_us_per_request": side.cpu_us,
        }
        for side in (floor, ingress)
    }
    section.raw["ratios"] = ratios
    return section


def _round(side: _Side, seconds: float, number: int, *, is_warm_up: bool = False) -> int:
    template = post_template(_HOST, side.path, REAL_BODY, "application/json")
    order = {
        "host": _HOST,
        "port": side.port,
        "request": template.decode(),
        "connections": CONNECTIONS,
        "seconds": seconds,
        "first_number": number,
    }
    before = _cpu_seconds(side.pid)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(order).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    used = _cpu_seconds(side.pid) - before
    result: dict[str, Any] = json.loads(done.stdout)
    times: list[float] = result["times"]
    if not times:
        raise RuntimeError(f"{side.name} accepted nothing: {result['others']}")
    if not is_warm_up:
        side.rates.append(len(times) / result["seconds"])
        side.p50_ms.append(1000 * percentile(times, 0.50))
        side.p99_ms.append(1000 * percentile(times, 0.99))
        side.cpu_us.append(1e6 * used / len(times))
        for status, count in result["others"].items():
            side.others[status] = side.others.get(status, 0) + count
    time.sleep(_SETTLE_SECONDS)
    last: int = result["last_number"]
    return last


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _floor(platform: Platform) -> Iterator[tuple[int, int]]:
    """The floor's process beside the platform, on its NATS server, as ingress's NATS user."""
    port = platform.port_base + _FLOOR_OFFSET
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.floor", "--port", str(port)),
            *("--nats-url", f"nats://{_HOST}:{platform.port_base + 3}"),
            *("--credentials", str(platform.data / "credentials" / "ingress.creds")),
            *("--inbox-prefix", ingress_role().inbox_prefix),
            *("--subject", "webhooks.received.bench.floor"),
        ]
    )
    try:
        _wait_listening(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            httpx.post(f"http://{_HOST}:{port}/", content=REAL_BODY % (0, 0), trust_env=False)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _metric(platform: Platform, name: str) -> float:
    text = httpx.get(f"{platform.base_url}/metrics", trust_env=False).text
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))
