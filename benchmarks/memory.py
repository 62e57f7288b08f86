"""Section 4: the memory of each part, idle and after many alerts.

Proportional set size: pages that parts share are split between them, so the sum is what the
platform takes from the machine. PostgreSQL counts with all its processes.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
from tests.e2e.brokers import wait_until_ready
from tests.harness.platform import Platform, running_platform

from benchmarks import alerts
from benchmarks.report import Section

_IDLE_SECONDS = 3.0
_PER_SECOND = 60.0


def run(folder: Path, *, quick: bool) -> Section:
    count = 1_000 if quick else 10_000
    section = Section(f"Memory of each part (PSS), idle and after {count:,} trading alerts")
    with running_platform(folder / "data") as platform:
        wait_until_ready(platform, "demo")
        time.sleep(_IDLE_SECONDS)
        before = _memory(platform)
        since = alerts.now()
        sent = alerts.send(platform, ("demo",), count=count, per_second=_PER_SECOND)
        alerts.wait_processed(platform, sent, since, seconds=count / 5)
        time.sleep(_IDLE_SECONDS)
        after = _memory(platform)
    for part, megabytes in before.items():
        grown = after.get(part, 0.0) - megabytes
        section.add(part, after.get(part, 0.0), "MB", note=f"idle {megabytes:.1f}, {grown:+.1f}")
    total = sum(before.values())
    section.add("all", sum(after.values()), "MB", note=f"idle {total:.1f}")
    if sent.refused:
        section.notes.append(f"{sent.refused} alerts were not answered 200")
    section.raw = {"idle_mb": before, "after_mb": after, "alerts": count}
    return section


def _memory(platform: Platform) -> dict[str, float]:
    """Megabytes by part; `aristobot up` is the supervising process itself."""
    found = {name: _of_family(pid) for name, pid in platform.pids().items()}
    if platform.process is not None:
        found["aristobot up"] = _of(psutil.Process(platform.process.pid))
    return found


def _of_family(pid: int) -> float:
    parent = psutil.Process(pid)
    total = 0.0
    for process in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a database's backend has just ended
            total += _of(process)
    return total


def _of(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 2**20
