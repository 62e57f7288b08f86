"""What is applied: the resources of the benchmark, and the plain objects of its floor."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from aristobot.contracts.kubernetes import GROUP, VERSION

Object = dict[str, Any]

BROKER, STRATEGY, FLOOR = "bench", "bench", "floor"
ACTIVE_STRATEGIES = f"{GROUP}/{VERSION}/activestrategies"
BROKERS = f"{GROUP}/{VERSION}/brokers"
STRATEGIES = f"{GROUP}/{VERSION}/strategies"
DEPLOYMENTS, SECRETS, PODS = "apps/v1/deployments", "v1/secrets", "v1/pods"
#: Of everything that the floor is made of.
FLOOR_LABEL = "aristobot-bench-floor"

_EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ema_10_20.py"


def broker(name: str = BROKER, environment: str = "simulator") -> Object:
    spec = {"exchange": "binance", "environment": environment, "tradingMode": "strategy"}
    if environment != "simulator":
        spec["credentialsSecretRef"] = {"name": BROKER}  # type: ignore[assignment]
    return _resource("Broker", name, spec)


def strategy() -> Object:
    return _resource("Strategy", STRATEGY, {"timeframe": "1m", "code": _EXAMPLE.read_text()})


def active_strategy(name: str, **spec: Any) -> Object:
    return _resource(
        "ActiveStrategy",
        name,
        {
            "strategyRef": {"name": STRATEGY},
            "brokerRef": {"name": BROKER},
            "symbol": "BTCUSDT",
            **spec,
        },
    )


def credentials() -> Object:
    values = {"apiKey": "key", "apiSecret": "secret"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": BROKER},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in values.items()},
    }


def plain_copy(child: Object, name: str) -> Object:
    """A Deployment or Secret as large as a child of ours, that belongs to nobody."""
    labels = {FLOOR_LABEL: name}
    copy = {
        "apiVersion": "apps/v1" if child["kind"] == "Deployment" else "v1",
        "kind": child["kind"],
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": child["metadata"].get("annotations", {}),
        },
    }
    if child["kind"] == "Secret":
        return {**copy, "type": "Opaque", "data": child["data"]}
    template = {**child["spec"]["template"], "metadata": {"labels": labels}}
    spec = {**child["spec"], "selector": {"matchLabels": labels}, "template": template}
    return {**copy, "spec": {**spec, "replicas": 0}}


def _resource(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
