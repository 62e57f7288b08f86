"""The command line in a pod: its own settings lead it to the platform, as far as it may go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aristobot.cli.app import app
from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Misconfigured, Retryable

Run = Callable[..., Result]


@pytest.fixture
def in_pod(
    postgres_url: str, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a command with the environment that the chart gives to the api's pod."""
    monkeypatch.setenv("ARISTOBOT_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("ARISTOBOT_DATABASE_URL", postgres_url)
    monkeypatch.setenv("ARISTOBOT_NATS_URL", nats_url)
    monkeypatch.setenv("ARISTOBOT_OWNER", "somebody")
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("order", "list"), "no orders yet"),
        (("position", "list"), "no position yet"),
        (("decision", "list"), "no decisions yet"),
        (("webhook", "list"), "no webhook"),
        (("strategy", "sell", "one"), "one holds nothing"),
    ],
)
def test_rows_are_read_from_the_platform_s_database(
    in_pod: Run, words: tuple[str, ...], said: str
) -> None:
    result = in_pod(*words)
    assert result.exit_code == 0, result.output
    assert said in result.output


def test_an_order_s_cancellation_finds_database_and_bus(in_pod: Run) -> None:
    result = in_pod("order", "cancel", "x-unknown")
    assert isinstance(result.exception, Misconfigured)
    assert str(result.exception) == "somebody has no order x-unknown"


def test_a_balance_is_asked_on_the_bus(in_pod: Run, key: BrokerKey) -> None:
    result = in_pod("balance", key.broker, "--owner", key.owner)
    assert isinstance(result.exception, Retryable), result.output


@pytest.mark.parametrize("words", [("webhook", "url", "main"), ("strategy", "stop", "one")])
def test_resources_and_secrets_are_not_for_a_pod(in_pod: Run, words: tuple[str, ...]) -> None:
    result = in_pod(*words)
    assert isinstance(result.exception, Misconfigured)
    assert "use kubectl, or `aristobot --kube`" in str(result.exception)


def test_the_doctor_examines_what_a_pod_can_reach(in_pod: Run) -> None:
    result = in_pod("doctor", "--json")
    findings = {row["check"]: row for row in json.loads(result.output)}
    for check in ("database", "outbox", "unknown orders", "stream ORDERS", "stream WEBHOOKS"):
        assert findings[check]["ok"], findings[check]
    # No engine runs here, and that is what it is there to tell.
    assert "nobody reads it" in findings["consumer engine_events"]["finding"]
    assert "sealed strategies" not in findings
    assert result.exit_code == 1


def test_status_says_where_to_look(in_pod: Run) -> None:
    result = in_pod("status")
    assert (result.exit_code, "kubectl get pods" in result.output) == (3, True)


def test_a_database_alone_is_no_pod(in_pod: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARISTOBOT_NATS_URL")
    result = in_pod("order", "list")
    assert isinstance(result.exception, Misconfigured)
    assert "no platform runs on" in str(result.exception)
