"""`aristobot doctor`: all well on a sound platform, and a name for what is wrong on another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
import pytest

from tests.harness.platform import Platform, eventually, running_platform


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of its own, since it is made ill."""
    with running_platform(tmp_path_factory.mktemp("patient") / "data") as platform:
        yield platform


def _wrong(platform: Platform) -> dict[str, str]:
    """The findings that are not well, by the check's name."""
    done = platform.run("doctor", "--json", check=False)
    assert done.stderr == ""
    rows = json.loads(done.stdout)
    wrong = {row["check"]: row["finding"] for row in rows if not row["ok"]}
    assert done.returncode == (1 if wrong else 0)
    assert all(wrong.values()), "a finding is a sentence"
    return wrong


def _names_only(platform: Platform, check: str) -> None:
    """At last: the platform may still be recovering from the test before."""
    eventually(lambda: _wrong(platform).keys() == {check}, seconds=60, what=f"naming {check}")


def _is_well(platform: Platform) -> bool:
    return not _wrong(platform)


@contextmanager
def _frozen(platform: Platform, part: str) -> Iterator[None]:
    """The part's own process hangs: it takes connections and answers nothing."""
    pid = platform.pids()[part]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_all_is_well_on_a_sound_platform(patient: Platform) -> None:
    assert _wrong(patient) == {}
    rows = patient.json("doctor", "--json")
    names = {row["check"] for row in rows}
    assert {"database", "stream WEBHOOKS", "stream ORDERS", "stream ORDER_EVENTS"} <= names
    assert {"exchange of demo.demo", "consumer engine_demo_demo", "sealed strategies"} <= names
    assert "WRONG" not in patient.run("doctor").stdout


@pytest.mark.chaos
def test_a_hanging_exchange_is_named(patient: Platform) -> None:
    with _frozen(patient, "simulator"):
        _names_only(patient, "exchange of demo.demo")


@pytest.mark.chaos
def test_a_hanging_gateway_is_named(patient: Platform) -> None:
    with _frozen(patient, "gateway-demo.demo"):
        _names_only(patient, "exchange of demo.demo")


def test_a_hanging_message_server_is_named(patient: Platform) -> None:
    with _frozen(patient, "nats"):
        _names_only(patient, "nats")


@pytest.mark.chaos
def test_a_hanging_database_is_named(patient: Platform) -> None:
    with _frozen(patient, "postgres"):
        _names_only(patient, "database")


def test_a_missing_stream_is_named_and_its_advice_helps(patient: Platform) -> None:
    eventually(lambda: _is_well(patient), seconds=60, what="recovering from all before")
    asyncio.run(_delete_stream(patient, "ORDERS"))
    wrong = _wrong(patient)
    assert "missing" in wrong["stream ORDERS"]
    assert "consumer gateway_demo_demo" in wrong
    assert "restart the platform" in wrong["stream ORDERS"]
    assert "WRONG" in patient.run("doctor", check=False).stdout
    patient.stop()
    patient.start()
    eventually(lambda: _is_well(patient), seconds=40, what="recovering")


async def _delete_stream(platform: Platform, name: str) -> None:
    address = json.loads((platform.data / "run" / "address").read_text())
    client = await nats.connect(
        address["nats_url"],
        user_credentials=address["nats_credentials"],
        inbox_prefix=b"_INBOX_admin",
        connect_timeout=5,
    )
    try:
        assert await client.jetstream(timeout=5).delete_stream(name)
    finally:
        await client.close()


def test_without_a_platform_it_says_so(tmp_path: Path) -> None:
    done = Platform(tmp_path / "none", 0).run("doctor", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "no platform runs on" in line
    assert "aristobot up" in line
