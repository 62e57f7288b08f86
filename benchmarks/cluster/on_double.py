"""Section: the operator with many resources, on the API double and a real NATS, without a cluster.

Double and operator are processes of their own, as are the API server and the operator's pod on a
cluster; `make bench-cluster` has the truth. Here is what it can be compared with on any machine,
and where the operator itself spends its time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml
from tests.harness.servers import nats_server
from tests.support.kube_api.bare import connected

from benchmarks.cluster.crowd import Crowd, prepare
from benchmarks.cluster.documents import Object
from benchmarks.report import Section

NAMESPACE = "aristobot"
_START_SECONDS = 30.0
_END_SECONDS = 20.0


def run(folder: Path, *, quick: bool) -> Section:
    count = 100 if quick else 500
    section = Section(f"Operator with {count} ActiveStrategies, on the API double")
    with (
        nats_server(folder / "nats") as nats_url,
        _process(folder, "double", "-m", "benchmarks.cluster.double", str(folder)),
    ):
        kubeconfig = _await_file(folder / "kubeconfig")
        api = yaml.safe_load(kubeconfig.read_text())
        config = folder / "operator.yaml"
        config.write_text(yaml.safe_dump(_settings(nats_url)))
        environment = {"KUBECONFIG": str(kubeconfig), "ARISTOBOT_OPERATOR_CONFIG": str(config)}
        arguments = ("-m", "aristobot", "operator")
        with _process(folder, "operator", *arguments, **environment) as operator:
            asyncio.run(_measure(section, api, count, 30 if quick else 100, operator))
    return section


async def _measure(
    section: Section, api: Object, count: int, changes: int, operator: psutil.Process
) -> None:
    async with connected(api, NAMESPACE) as client:
        await prepare(client, environment="live")
        idle, before = operator.memory_full_info().pss, operator.cpu_times()

        def note_memory() -> None:
            section.add(
                "operator's memory (PSS)",
                _mebibytes(operator),
                "MB",
                note=f"without them {idle / 2**20:.0f}",
            )
            section.add("operator's processor time for them", _seconds(operator, before), "s")

        crowd = Crowd(client, count, changes, _silent)
        await crowd.measure(section, note_memory)


def _settings(nats_url: str) -> dict[str, object]:
    """As the chart would render them."""
    return {
        "release": "aristobot",
        "instance": "aristobot",
        "namespace": NAMESPACE,
        "owners": [NAMESPACE],
        "image": "aristobot:bench",
        "natsUrl": nats_url,
        "databaseSecret": {"name": "aristobot-postgres", "key": "database-url"},
        "embeddedPostgres": {"host": "aristobot-postgres.aristobot.svc"},
        "markets": ["binance"],
        "logLevel": "WARNING",
    }


@contextmanager
def _process(
    folder: Path, name: str, *arguments: str, **environment: str
) -> Iterator[psutil.Process]:
    """A Python process that is ended with the block."""
    log = folder / f"{name}.log"
    kept = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**kept, "HOME": str(folder), "TMPDIR": str(folder), **environment},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield psutil.Process(process.pid)
        if process.poll() is not None:
            raise RuntimeError(f"{name} has ended:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_file(path: Path) -> Path:
    give_up_at = time.monotonic() + _START_SECONDS
    while not path.exists():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"no {path.name} within {_START_SECONDS:g} s")
        time.sleep(0.05)
    return path


def _mebibytes(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss) / 2**20


def _seconds(process: psutil.Process, before: object) -> float:
    now = process.cpu_times()
    return float(now.user + now.system - before.user - before.system)  # type: ignore[attr-defined]


def _silent(what: str, done: int, total: int) -> None:
    pass
