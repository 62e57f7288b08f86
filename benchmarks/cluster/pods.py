"""What pods use, as their node's kubelet says: memory that can't be reclaimed, processor time.

`working set` is the pod's cgroup without the cache that the kernel would give back at once: what
counts for eviction. Pages that pods of one image share are counted once, with whoever read them
first, so many pods of a kind say more than one does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.cluster.kubectl import Kubectl

Object = dict[str, Any]
_COMPONENT = "app.kubernetes.io/component"
#: kubelet looks at its cgroups every ten to fifteen seconds.
_FRESH_SECONDS = 60.0
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9}

#: Run in a pod: memory (KiB) of each process, in the order in which they began, but for itself.
_PROCESSES = """
import glob, json, os
found = []
for pid in sorted(int(folder[6:]) for folder in glob.glob("/proc/[0-9]*")):
    if pid == os.getpid():
        continue
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file.readlines()[1:])
    found.append({name.strip(":"): int(size) for name, size in sizes.items()})
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """`memory`: working set, bytes. `processor`: nanoseconds since the pod began, at `at`."""

    memory: int
    processor: int
    at: float


@dataclass(frozen=True, slots=True)
class Node:
    """Bytes and millicores. `requested` by pods of everybody, `used` by everything on it."""

    memory: int
    processor: float
    pods: int
    requested_memory: int
    requested_processor: float
    running: int
    available: int


def usages(kubectl: Kubectl, node: str) -> dict[str, Usage]:
    """By pod, of the namespace. A pod that kubelet has not looked at yet isn't there."""
    found = {}
    for each in _summary(kubectl, node)["pods"]:
        memory, processor = each.get("memory", {}), each.get("cpu", {})
        if each["podRef"]["namespace"] != kubectl.namespace:
            continue
        # At first kubelet says 0 of a pod.
        if memory.get("workingSetBytes") and "usageCoreNanoSeconds" in processor:
            found[each["podRef"]["name"]] = Usage(
                memory["workingSetBytes"],
                processor["usageCoreNanoSeconds"],
                datetime.fromisoformat(processor["time"]).timestamp(),
            )
    return found


def fresh_usages(kubectl: Kubectl, node: str, names: set[str]) -> dict[str, Usage]:
    """As `usages`, of those pods, looked at after now."""
    since, give_up_at = time.time(), time.monotonic() + _FRESH_SECONDS
    while True:
        found = usages(kubectl, node)
        if all(name in found and found[name].at > since for name in names):
            return {name: found[name] for name in names}
        if time.monotonic() > give_up_at:
            late = sorted(n for n in names if n not in found or found[n].at <= since)
            raise RuntimeError(f"kubelet says nothing new of pod {late[0]}")
        time.sleep(1)


def rate(before: Usage, after: Usage) -> float:
    """Millicores between the two."""
    return (after.processor - before.processor) / (after.at - before.at) / 1e6


def by_component(kubectl: Kubectl) -> dict[str, list[str]]:
    """The names of the release's running pods."""
    found: dict[str, list[str]] = {}
    for pod in kubectl.list("pods", "--field-selector", "status.phase=Running"):
        component = pod["metadata"].get("labels", {}).get(_COMPONENT, "?")
        found.setdefault(component, []).append(pod["metadata"]["name"])
    return found


def node_name(kubectl: Kubectl) -> str:
    """The node that the release's pods are on. Raises `RuntimeError` when there are several."""
    names = {pod["spec"].get("nodeName") for pod in kubectl.list("pods")} - {None}
    if len(names) != 1:
        raise RuntimeError(f"the release is on several nodes ({sorted(names)}): one is measured")
    return str(names.pop())


def node_of(kubectl: Kubectl, name: str) -> Node:
    allocatable = (kubectl.get("node", name) or {})["status"]["allocatable"]
    pods = [
        pod
        for pod in kubectl.list("pods", "--all-namespaces")
        if pod["spec"].get("nodeName") == name
        and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    requests = [
        container.get("resources", {}).get("requests", {})
        for pod in pods
        for container in pod["spec"]["containers"]
    ]
    return Node(
        memory=int(quantity(allocatable["memory"])),
        processor=1000 * quantity(allocatable["cpu"]),
        pods=int(allocatable["pods"]),
        requested_memory=int(sum(quantity(each.get("memory", "0")) for each in requests)),
        requested_processor=1000 * sum(quantity(each.get("cpu", "0")) for each in requests),
        running=len(pods),
        available=int(_summary(kubectl, name)["node"]["memory"]["availableBytes"]),
    )


def processes(kubectl: Kubectl, pod: str) -> list[Mapping[str, int]]:
    """Memory (KiB, by smaps_rollup's names) of a pod's processes, the oldest first."""
    found: list[Mapping[str, int]] = json.loads(
        kubectl.exec(pod, "python", "-c", _PROCESSES).stdout
    )
    return found


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: bytes, or cores."""
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    if text.endswith("m"):
        return float(text.removesuffix("m")) / 1000
    return float(text)


def _summary(kubectl: Kubectl, node: str) -> Object:
    path = f"/api/v1/nodes/{node}/proxy/stats/summary"
    found: Object = json.loads(kubectl.run("get", "--raw", path).stdout)
    return found
