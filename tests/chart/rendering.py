"""Renders the chart with the values that it comes with as examples, and with everything else on.

Helm's own engine in this process (helm-python-sdk), each set once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

Object = dict[str, Any]
Values = dict[str, Any]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "aristobot"
RELEASE = "aristobot"
NAMESPACE = "aristobot"

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_EVERYTHING: Values = {
    "embedded": {"enabled": True},
    "fullnameOverride": "a-name-of-24-characters1",
    "image": {"tag": "test", "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
    "owners": ["alice", "bob", NAMESPACE],
    "operator": {"replicas": 2, "apiServer": {"cidrs": ["198.51.100.7/32"]}},
    "heartbeat": {"markets": ["binance", "binance-simulator", "binance-testnet"]},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "telemetry": {
        "otlpEndpoint": "http://tempo.monitoring.svc:4318",
        "peers": [{"namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: "monitoring"}}}],
    },
    "ingress": {"host": "hooks.example.com", "className": "traefik", "tls": {"secretName": "tls"}},
    "runner": {"priorityClassName": "low", "env": [{"name": "TZ", "value": "UTC"}]},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "trading", "operator": "Exists"}],
}

_LEAST: Values = {
    "nats": {"url": "tls://nats.example.com"},
    "database": {"existingSecret": "database", "port": 6432},
    "ingress": {"replicas": 1, "enabled": False},
    "heartbeat": {"replicas": 1},
    "networkPolicy": {"enabled": False},
    "priorityClasses": {"create": False},
    "userRoles": {"create": False},
}


def _examples() -> dict[str, Values]:
    files = sorted((CHART / "examples").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


VALUE_SETS: dict[str, Values] = {**_examples(), "everything": _EVERYTHING, "least": _LEAST}


@cache
def chart() -> Chart:
    return Chart.load(CHART)


@cache
def _files(name: str) -> dict[str, str]:
    return render_values(VALUE_SETS[name])


def render_values(
    values: Values, *, release: str = RELEASE, namespace: str = NAMESPACE
) -> dict[str, str]:
    """Template path to text. Raises Helm's own error for values that are refused."""
    return chart().render(values, name=release, namespace=namespace)


@cache
def render(name: str) -> tuple[Object, ...]:
    """Every object of a value set. Treat them as read-only: they are shared."""
    return tuple(objects_of(_files(name)))


def notes(name: str) -> str:
    return next(text for path, text in _files(name).items() if path.endswith("NOTES.txt"))


def objects_of(files: dict[str, str]) -> Iterator[Object]:
    for path, text in files.items():
        if not path.endswith("NOTES.txt"):
            yield from filter(None, yaml.load_all(text, Loader=yaml.CSafeLoader))


def find(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = (o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
    return found


def title(item: Object) -> str:
    return f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


@dataclass(frozen=True)
class Pod:
    """A pod as the object `source` would make it."""

    source: str
    namespace: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]


def pods(objects: tuple[Object, ...]) -> list[Pod]:
    """One for each object that makes pods."""
    found = []
    for item in objects:
        template = item if item["kind"] == "Pod" else item.get("spec", {}).get("template")
        if template is None:
            continue
        metadata = template["metadata"]
        namespace = item["metadata"]["namespace"]
        found.append(Pod(title(item), namespace, metadata["labels"], template["spec"]))
    return found


def pod(name: str, component: str) -> Pod:
    """A value set's one kind of pod of a component."""
    (found,) = (p for p in pods(render(name)) if p.component == component)
    return found
