"""What is wrong is refused by the API server, with the way to it, whoever applies it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cluster import documents
from tests.cluster.release import NAMESPACE, Release

_ACTIVE = {"strategyRef": {"name": "any"}, "brokerRef": {"name": "any"}, "symbol": "BTCUSDT"}
#: Kind, spec, and what has to be said.
_WRONG = {
    "live without keys": (
        "Broker",
        {"exchange": "binance"},
        "apply a Secret with apiKey and apiSecret and name it here",
    ),
    "an exchange that we don't know": (
        "Broker",
        {"exchange": "kraken", "environment": "simulator"},
        "spec.exchange",
    ),
    "off without quotation marks": (
        "Broker",
        {"exchange": "binance", "environment": "simulator", "tradingMode": False},
        "spec.tradingMode",
    ),
    "a strategy without code": (
        "Strategy",
        {"timeframe": "1m"},
        "exactly one of code and codeConfigMapRef is needed",
    ),
    "a timeframe that we don't have": (
        "Strategy",
        {"timeframe": "7m", "code": "x"},
        "spec.timeframe",
    ),
    "an end before its start": (
        "ActiveStrategy",
        {**_ACTIVE, "start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        "end must be later than start",
    ),
    "a symbol in lower case": ("ActiveStrategy", {**_ACTIVE, "symbol": "btcusdt"}, "spec.symbol"),
    "a field that nobody knows": ("ActiveStrategy", {**_ACTIVE, "leverage": 10}, "spec.leverage"),
}


def _document(kind: str, spec: object) -> str:
    head = {"apiVersion": "trading.aristobot.io/v1alpha1", "kind": kind}
    return yaml.safe_dump({**head, "metadata": {"name": "wrong"}, "spec": spec})


@pytest.mark.parametrize("case", _WRONG)
def test_it_is_refused_by_either_way_in(release: Release, tmp_path: Path, case: str) -> None:
    kind, spec, said = _WRONG[case]
    text = _document(kind, spec)
    by_kubectl = release.kubectl.apply(text, check=False)
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    ours = release.from_here("apply", "-n", NAMESPACE, "-f", str(file), check=False)
    for done in (by_kubectl, ours):
        assert done.returncode == 1, done.stdout
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert release.kubectl.get(kind, "wrong") is None


def test_what_orders_belong_to_can_t_be_changed(release: Release, tmp_path: Path) -> None:
    spec = {"exchange": "binance", "environment": "simulator"}
    release.kubectl.apply(_document("Broker", spec).replace("wrong", "fixed"))
    try:
        changed = {**spec, "environment": "testnet", "credentialsSecretRef": {"name": "keys"}}
        text = _document("Broker", changed).replace("wrong", "fixed")
        file = tmp_path / "changed.yaml"
        file.write_text(text)
        by_kubectl = release.kubectl.apply(text, check=False)
        ours = release.from_here("apply", "-n", NAMESPACE, "-f", str(file), check=False)
        for done in (by_kubectl, ours):
            assert done.returncode == 1, done.stdout
            assert "apply it under a new name" in done.stderr
    finally:
        release.kubectl.run("delete", "broker", "fixed")


def test_the_same_objects_by_kubectl_and_by_our_command(release: Release, tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    file.write_text(documents.strategy("wrong"))
    release.from_here("apply", "-n", NAMESPACE, "-f", str(file))
    found = release.kubectl.get("strategy", "wrong")
    assert found is not None
    assert found["spec"]["timeframe"] == "1m"
    release.kubectl.run(
        "patch", "strategy", "wrong", "--type=merge", "-p", '{"spec":{"timeframe":"5m"}}'
    )
    shown = release.from_here("get", "strategy", "wrong", "-n", NAMESPACE, "-o", "json").stdout
    assert '"timeframe": "5m"' in shown
    release.from_here("delete", "strategy", "wrong", "-n", NAMESPACE)
    assert release.kubectl.get("strategy", "wrong") is None
