"""The pods that the operator makes fit the chart: its settings, policies, priorities, standards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.kubernetes import ADMIN_PORT, INSTANCE_LABEL
from aristobot.contracts.resources import Broker, parse_document
from aristobot_operator.builders.deployments import gateway_deployment, runner_deployment
from aristobot_operator.settings import OperatorSettings
from tests.chart.network import Place, selecting
from tests.chart.rendering import ROOT, VALUE_SETS, Object, render
from tests.harness.pod_security import containers_of, restricted_violations

RECORD = ActiveStrategyRecord(
    owner="alice",
    name="ema-btc",
    uid="0",
    generation=1,
    broker="paper",
    market="binance-simulator",
    symbol="BTCUSDT",
    timeframe="1m",
    strategy="ema",
    code="",
)


def _settings(name: str) -> OperatorSettings:
    (item,) = (o for o in render(name) if o["kind"] == "ConfigMap")
    return OperatorSettings.model_validate(yaml.safe_load(item["data"]["operator.yaml"]))


def _found(document: Any, owner: str) -> Object:
    return {**document, "metadata": {**document["metadata"], "namespace": owner, "uid": "0"}}


def _children(name: str) -> list[Object]:
    """A gateway and a runner in the first owner's namespace."""
    settings = _settings(name)
    file = ROOT / "docs" / "examples" / "simulator.yaml"
    (document,) = yaml.safe_load_all(Path(file).read_text(encoding="utf-8"))
    broker = parse_document(document)
    assert isinstance(broker, Broker)
    found = _found(document, settings.owners[0])
    return [
        gateway_deployment(settings, found, broker, "digest"),
        runner_deployment(settings, found, RECORD, replicas=1, secrets="digest"),
    ]


every_set = pytest.mark.parametrize("name", VALUE_SETS)


@every_set
def test_they_are_valid_and_restricted(name: str) -> None:
    for child in _children(name):
        kubernetes_validate.validate(child, "1.33", strict=True)
        spec = child["spec"]["template"]["spec"]
        assert restricted_violations(spec) == []
        assert spec["automountServiceAccountToken"] is False
        for container in containers_of(spec):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            assert ports == {"admin": ADMIN_PORT}


@pytest.mark.parametrize("name", [name for name in VALUE_SETS if name != "least"])
def test_they_are_under_the_policies_of_their_component(name: str) -> None:
    policies = [item for item in render(name) if item["kind"] == "NetworkPolicy"]
    for child in _children(name):
        template = child["spec"]["template"]
        place = Place("10.42.0.9", child["metadata"]["namespace"], template["metadata"]["labels"])
        component = place.labels["app.kubernetes.io/component"]
        for direction in ("Egress", "Ingress"):
            names = [p["metadata"]["name"] for p in selecting(policies, place, direction)]
            over = {each.rpartition("-")[2] for each in names}
            assert over == {"deny", component}


@every_set
def test_they_are_found_with_the_release_that_they_belong_to(name: str) -> None:
    """Also where the chart's names don't begin with the release's (the set `everything`)."""
    of_chart = {item["metadata"]["labels"][INSTANCE_LABEL] for item in render(name)}
    for child in _children(name):
        template = child["spec"]["template"]["metadata"]
        for metadata in (child["metadata"], template):
            assert {metadata["labels"][INSTANCE_LABEL]} == of_chart


def test_gateways_are_evicted_last_and_runners_first() -> None:
    gateway, runner = (child["spec"]["template"]["spec"] for child in _children("first-look"))
    assert gateway["priorityClassName"] == "aristobot-money"
    assert "priorityClassName" not in runner


def test_the_installer_s_words_about_them_are_followed() -> None:
    gateway, runner = (child["spec"]["template"]["spec"] for child in _children("everything"))
    assert runner["priorityClassName"] == "low"
    assert {"name": "TZ", "value": "UTC"} in runner["containers"][0]["env"]
    assert gateway["imagePullSecrets"] == [{"name": "registry"}]
    assert gateway["containers"][0]["image"] == "docker.io/library/aristobot:test"


def test_a_runner_s_memory_follows_from_its_strategy_s() -> None:
    (_, runner) = _children("first-look")
    (container,) = runner["spec"]["template"]["spec"]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert limit > RECORD.memory_mebibytes
