"""From applying a Broker, or an ActiveStrategy, to Ready: where the seconds go.

Each step is seen by a watch of ours. What Kubernetes does (a pod object from a Deployment, a node
for it, a container) can't be told apart from what else the machine does; it is the floor of this.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.support.kube_api.bare import ApiClient

from aristobot.contracts.kubernetes import gateway_name, runner_name
from benchmarks.cluster import documents
from benchmarks.cluster.crowd import Progress, apply, condition
from benchmarks.cluster.documents import ACTIVE_STRATEGIES, BROKERS, DEPLOYMENTS, PODS
from benchmarks.cluster.following import Following, following
from benchmarks.report import Section

_READY_SECONDS = 240.0
Object = dict[str, Any]
_IsSo = Callable[[str], bool]


async def measure(client: ApiClient, section: Section, progress: Progress, *, rounds: int) -> None:
    """Start so many of each, one after the other; deleted in the end."""
    names = [f"start-{number}" for number in range(rounds)]
    kinds = (
        ("Broker", BROKERS, documents.broker, gateway_name),
        ("ActiveStrategy", ACTIVE_STRATEGIES, documents.active_strategy, runner_name),
    )
    for kind, plural, document, child in kinds:
        taken = []
        for number, name in enumerate(names):
            found = document(name)
            taken.append(await _start(client, plural, found, child(name)))
            progress(f"{kind} started", number + 1, rounds)
        _add(section, kind, taken)
    for _, plural, _, _ in reversed(kinds):
        for name in names:
            await client.did("DELETE", client.path(plural, name))


async def _start(client: ApiClient, plural: str, document: Object, child: str) -> dict[str, float]:
    """Seconds from applying to each step."""
    name = document["metadata"]["name"]
    async with following(
        client,
        (plural, "", str),
        (DEPLOYMENTS, "", lambda each: name if each == child else ""),
        (PODS, "", lambda each: name if each.startswith(f"{child}-") else ""),
    ) as seen:
        steps = _steps(seen, plural, child)
        started = time.monotonic()
        await apply(client, plural, document)
        times = {}
        for step, is_so in steps.items():
            times[step] = (await seen.until({name}, is_so, seconds=_READY_SECONDS))[name] - started
    return times


def _steps(seen: Following, plural: str, child: str) -> dict[str, _IsSo]:
    """In the order in which they come."""

    def pod() -> Object:
        pods = seen.all(PODS, f"{child}-")
        return pods[0] if pods else {"metadata": {}, "spec": {}}

    def found(name: str) -> Object:
        return seen.get(plural, name) or {"metadata": {}}

    def is_running(_: str) -> bool:
        containers = (pod().get("status") or {}).get("containerStatuses") or ()
        return any("running" in each["state"] for each in containers)

    return {
        "status seen": lambda name: condition(found(name), "Ready") != {},
        "child made": lambda _: seen.get(DEPLOYMENTS, child) is not None,
        "pod scheduled": lambda _: "nodeName" in pod()["spec"],
        "container runs": is_running,
        "process ready": lambda _: condition(pod(), "Ready").get("status") == "True",
        "Ready": lambda name: condition(found(name), "Ready").get("status") == "True",
    }


def _add(section: Section, kind: str, taken: list[dict[str, float]]) -> None:
    before = 0.0
    for step in taken[0]:
        median = statistics.median(each[step] for each in taken)
        section.add(
            f"{kind}: {step}",
            median,
            "s",
            note=f"{median - before:.2f} after the step before",
        )
        before = median
    section.raw[kind] = taken
