"""A release of both charts for the time of a benchmark, in a namespace of its own.

With the chart's own values: what is measured is what a user gets. Nothing of another release is
touched, and what was made is removed at the end, the definitions too if they weren't there before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.kubectl import Kubectl, run_tool

RELEASE = "bench"
NAMESPACE = "aristobot-bench"
HOST = "bench.test"
#: A market as fast as this makes a candle of a minute every three seconds.
SPEED = 20

_CHARTS = Path(__file__).parents[2] / "charts"
_DEFINITIONS = ("activestrategies", "brokers", "strategies")
_GROUP = "trading.aristobot.io"
_READY_SECONDS = 300
_GONE_SECONDS = 300
Object = dict[str, Any]


class NotInstalled(Exception):
    """The release could not be brought up; the text says what its pods wait for."""


def values(image: str) -> Object:
    """What differs from the chart's own."""
    repository, _, tag = image.rpartition(":")
    small = {"size": "1Gi"}
    return {
        "image": {"repository": repository, "tag": tag},
        "embedded": {
            "enabled": True,
            "nats": {"storage": small},
            "postgres": {"storage": small},
        },
        "simulator": {"speed": SPEED, "storage": small},
        "ingress": {"host": HOST},
        # Cluster-wide objects that another release may have made.
        "userRoles": {"create": False},
    }


@contextmanager
def installed(context: str, image: str) -> Iterator[Kubectl]:
    """The release, with every pod ready. Raises `NotInstalled`."""
    kubectl = Kubectl(context, NAMESPACE)
    had_definitions = all(_has_definition(kubectl, kind) for kind in _DEFINITIONS)
    _remove(kubectl)  # of a run that was killed
    kubectl.apply(_namespace())
    try:
        if not had_definitions:
            chart = str(_CHARTS / "aristobot-crds")
            words = ("upgrade", "--install", "aristobot-crds", chart)
            _helm(kubectl, *words, "--take-ownership", "--wait")
        _install(kubectl, image)
        yield kubectl
    finally:
        _remove(kubectl)
        if not had_definitions and not _anybody_s_resources(kubectl):
            names = (f"{kind}.{_GROUP}" for kind in _DEFINITIONS)
            kubectl.run("delete", "crd", "--ignore-not-found", *names, seconds=_GONE_SECONDS)


def _install(kubectl: Kubectl, image: str) -> None:
    words = ("upgrade", "--install", RELEASE, str(_CHARTS / "aristobot"), "--values", "-")
    done = run_tool(
        _words(kubectl, *words, "--wait", "--timeout", f"{_READY_SECONDS}s"),
        stdin=yaml.safe_dump(values(image)),
        seconds=_READY_SECONDS + 30,
        check=False,
    )
    if done.returncode:
        raise NotInstalled(f"{done.stderr.strip()}\n{_why_pods_wait(kubectl)}")


def _why_pods_wait(kubectl: Kubectl) -> str:
    lines = []
    for pod in kubectl.list("pods"):
        name, status = pod["metadata"]["name"], pod.get("status", {})
        containers = (
            *status.get("initContainerStatuses", ()),
            *status.get("containerStatuses", ()),
        )
        waiting = (each["state"].get("waiting", {}) for each in containers)
        lines += [
            f"{name}: {each.get('reason')} {each.get('message', '')}" for each in waiting if each
        ]
        lines += [
            f"{name}: {each.get('message', '')}"
            for each in status.get("conditions", ())
            if each["type"] == "PodScheduled" and each["status"] == "False"
        ]
    return "\n".join(lines)


def _remove(kubectl: Kubectl) -> None:
    if kubectl.get("namespace", NAMESPACE) is None:
        return
    limit = f"{_GONE_SECONDS}s"
    # Our resources first: the operator takes its finalizers off while it is there.
    if all(_has_definition(kubectl, kind) for kind in _DEFINITIONS):
        kinds = ",".join(f"{kind}.{_GROUP}" for kind in _DEFINITIONS)
        words = ("delete", kinds, "--all", "--timeout", limit)
        kubectl.run(*words, seconds=_GONE_SECONDS + 10, check=False)
    _helm(kubectl, "uninstall", RELEASE, "--ignore-not-found", "--wait", "--timeout", limit)
    kubectl.run(
        *("delete", "namespace", NAMESPACE, "--ignore-not-found"),
        *("--timeout", limit),
        seconds=_GONE_SECONDS + 10,
    )


def _helm(kubectl: Kubectl, *words: str) -> None:
    run_tool(_words(kubectl, *words), seconds=_GONE_SECONDS + 10)


def _words(kubectl: Kubectl, *words: str) -> list[str]:
    place = ("--kube-context", kubectl.context, "--namespace", kubectl.namespace)
    return ["helm", *place, *words]


def _namespace() -> str:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def _has_definition(kubectl: Kubectl, kind: str) -> bool:
    return kubectl.get("crd", f"{kind}.{_GROUP}") is not None


def _anybody_s_resources(kubectl: Kubectl) -> bool:
    kinds = ",".join(f"{kind}.{_GROUP}" for kind in _DEFINITIONS)
    said = kubectl.run("get", kinds, "--all-namespaces", "-o", "json", check=False)
    return said.returncode == 0 and bool(json.loads(said.stdout)["items"])
