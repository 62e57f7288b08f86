"""Section 3: seconds from `make up` in a fresh clone, and from a second start, to a filled order.

The clock runs from the command to the simulator having an order filled; the alert is posted as
soon as the platform has printed its webhook URL. The clone holds what is committed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
from tests.harness.platform import free_port_base

from benchmarks.bodies import trade
from benchmarks.report import Section

_REPOSITORY = Path(__file__).parent.parent
_SECONDS = 300.0
_URL = re.compile(r"http://\S+/webhook/\S+")
_POLL_SECONDS = 0.02


def run(folder: Path, *, quick: bool) -> Section:
    section = Section("From the command to the first filled order")
    was_warm = _has_package_cache()
    clone, data = folder / "clone", folder / "data"
    subprocess.run(["git", "clone", "--quiet", str(_REPOSITORY), str(clone)], check=True)
    options = ("--data", str(data), "--host", "127.0.0.1")
    base = free_port_base()
    arguments = ("make", "up", f"ARGS={' '.join((*options, '--port-base', str(base)))}")
    with _started(arguments, clone, folder / "make.log", base) as times:
        section.add("make up, fresh clone: ready", times["ready"], "s")
        section.add("make up, fresh clone: filled order", times["filled"], "s")
        section.raw["fresh"] = dict(times)
    seconds: list[float] = []
    for turn in range(1 if quick else 3):
        base = free_port_base()
        command = (str(clone / ".venv/bin/aristobot"), "up", *options, "--port-base", str(base))
        with _started(command, clone, folder / f"up-{turn}.log", base) as times:
            seconds.append(times["filled"])
            section.raw[f"again {turn}"] = dict(times)
    section.add(
        "aristobot up again: filled order",
        max(seconds),
        "s",
        at_most=10,
        note=f"slowest of {len(seconds)}: {', '.join(f'{s:.1f}' for s in seconds)}",
    )
    cache = "warm" if was_warm else "empty"
    section.notes.append(f"package cache of uv {cache}; downloads come from the configured index")
    return section


def _has_package_cache() -> bool:
    folder = os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv"
    return any(Path(folder).glob("wheels-*/*")) or any(Path(folder).glob("archive-*/*"))


@contextlib.contextmanager
def _started(
    command: Sequence[str], folder: Path, log: Path, base: int
) -> Iterator[Mapping[str, float]]:
    """Run the command until an order is filled; yields the seconds to `ready` and `filled`."""
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = _wait_url(process, log, started)
        ready = time.monotonic() - started
        orders = f"http://127.0.0.1:{base + 2}/control/orders"
        before = len(httpx.get(orders, trust_env=False).json())  # those of an earlier start
        httpx.post(url, content=trade(0, "demo"), timeout=10, trust_env=False).raise_for_status()
        _wait_filled(orders, before, started)
        yield {"ready": ready, "filled": time.monotonic() - started}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _wait_url(process: subprocess.Popen[bytes], log: Path, started: float) -> str:
    while time.monotonic() - started < _SECONDS:
        text = log.read_text(errors="replace")
        found = _URL.search(text)
        if found:
            return found[0]
        if process.poll() is not None:
            raise RuntimeError(f"the command ended:\n{text}")
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"no webhook URL within {_SECONDS:g} s:\n{log.read_text(errors='replace')}")


def _wait_filled(url: str, before: int, started: float) -> None:
    while time.monotonic() - started < _SECONDS:
        orders = httpx.get(url, trust_env=False).json()
        if len(orders) > before and orders[-1]["status"] == "filled":
            return
        time.sleep(_POLL_SECONDS)
    raise RuntimeError("no order was filled")
