"""Many paused ActiveStrategies at once, and one change among them: how far behind the operator is.

"Done" is what a user would wait for: the child Deployment is there, and the status is about this
very generation and true (Ready is False because it is suspended, and the child is scaled to zero).
The floor does the same work, objects of the same size, with nobody reconciling: what client, API
server and Kubernetes' own controllers need for it on this machine, now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.kube_api.bare import MERGE, ApiClient

from aristobot.contracts.kubernetes import MANAGED_BY_LABEL, OPERATOR, runner_name
from benchmarks.cluster import documents
from benchmarks.cluster.documents import (
    ACTIVE_STRATEGIES,
    BROKERS,
    DEPLOYMENTS,
    FLOOR_LABEL,
    SECRETS,
    STRATEGIES,
)
from benchmarks.cluster.following import Following, following
from benchmarks.report import Section, percentile

#: Requests of the client that are under way at a time.
_AT_ONCE = 20
_APPLY_SECONDS = 600.0
_CHANGE_SECONDS = 120.0
_READY_SECONDS = 180.0
_MANAGER = "aristobot-bench"
Object = dict[str, Any]


class Progress(Protocol):
    """Tells people how far long work is."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Crowd:
    client: ApiClient
    count: int
    changes: int
    progress: Progress

    @property
    def names(self) -> list[str]:
        return [f"crowd-{number:04}" for number in range(self.count)]

    async def measure(
        self,
        section: Section,
        before_changes: Callable[[], None],
        kill_operator: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Fill the section. The Broker and the Strategy must be there already.

        `before_changes` is called when all is quiet with everything there; `kill_operator`, if
        that is to be measured too, when all changes are done.
        """
        async with following(
            self.client,
            (ACTIVE_STRATEGIES, "", str),
            (DEPLOYMENTS, f"{MANAGED_BY_LABEL}={OPERATOR}", _without("runner-")),
            (DEPLOYMENTS, FLOOR_LABEL, str),
        ) as seen:
            await self._all_at_once(section, seen)
            before_changes()
            took = [await self._change(seen, number) for number in range(self.changes)]
            self._add_changes(section, took)
            if kill_operator is not None:
                await kill_operator()
                section.add(
                    "the operator killed: a change made at once has followed",
                    await self._change(seen, self.changes),
                    "s",
                    note="a new pod, its lease, a list of everything",
                )
            await self._floor(section, seen)

    async def _all_at_once(self, section: Section, seen: Following) -> None:
        names = self.names
        started = time.monotonic()
        applying = asyncio.create_task(
            self._apply(
                (ACTIVE_STRATEGIES, documents.active_strategy(name, paused=True)) for name in names
            )
        )
        done = await seen.until(
            set(names),
            lambda name: is_reconciled(seen, name),
            seconds=_APPLY_SECONDS,
            progress=lambda count: self.progress("applied", count, self.count),
        )
        applied = await applying - started
        settled = await seen.until(
            set(names), lambda name: is_settled(seen, name), seconds=_APPLY_SECONDS
        )
        took = [moment - started for moment in done.values()]
        section.add(
            f"{self.count} paused ActiveStrategies: child and status of all",
            max(took),
            "s",
            at_most=60 if self.count >= 500 else None,
            note=f"half of them after {percentile(took, 0.5):.1f}; the client applied for "
            f"{applied:.1f}",
        )
        section.add("until each child is seen scaled to zero", max(settled.values()) - started, "s")
        section.raw["all_at_once_s"] = sorted(took)

    async def _change(self, seen: Following, number: int) -> float:
        """Change what reaches the child, the memory of the strategy's code; seconds it took."""
        name = self.names[number * 37 % self.count]
        memory, before = 300 + number, _memory_limit(seen, name)

        def has_followed(name: str) -> bool:
            found = seen.get(ACTIVE_STRATEGIES, name)
            is_changed = found is not None and found["spec"]["memoryMebibytes"] == memory
            return is_changed and _memory_limit(seen, name) != before and is_reconciled(seen, name)

        patch = {"spec": {"memoryMebibytes": memory}}
        seconds = await self._until(seen, name, has_followed, ACTIVE_STRATEGIES, patch)
        self.progress("changed", number + 1, self.changes)
        return seconds

    def _add_changes(self, section: Section, took: list[float]) -> None:
        section.add(f"one change among {self.count}, p50", percentile(took, 0.5), "s")
        section.add(
            f"one change among {self.count}, p99",
            percentile(took, 0.99),
            "s",
            at_most=1,
            note=f"of {len(took)}; slowest {max(took):.2f}",
        )
        section.raw["change_s"] = took

    async def _floor(self, section: Section, seen: Following) -> None:
        first = self.names[0]
        kinds = (SECRETS, DEPLOYMENTS)
        children = [
            await self.client.did("GET", self.client.path(plural, runner_name(first)))
            for plural in kinds
        ]
        children[0]["kind"], children[1]["kind"] = "Secret", "Deployment"
        names = [f"{documents.FLOOR}-{number:04}" for number in range(self.count)]
        copies = (
            (plural, documents.plain_copy(child, name))
            for name in names
            for plural, child in zip(kinds, children, strict=True)
        )
        started = time.monotonic()
        applying = asyncio.create_task(self._apply(copies))
        there = await seen.until(
            set(names),
            lambda name: seen.get(DEPLOYMENTS, name) is not None,
            seconds=_APPLY_SECONDS,
            progress=lambda count: self.progress("floor", count, self.count),
        )
        await applying
        section.add(
            f"floor: {self.count} plain Secrets and Deployments",
            max(there.values()) - started,
            "s",
            note="the same client, no operator",
        )
        observed = await seen.until(
            set(names),
            lambda name: _is_observed(seen.get(DEPLOYMENTS, name)),
            seconds=_APPLY_SECONDS,
        )
        section.add(
            "floor: until Kubernetes has looked at each",
            max(observed.values()) - started,
            "s",
            note="its Deployment controller; the same holds for ours to be seen scaled to zero",
        )
        took = []
        for number in range(self.changes):
            name, value = names[number * 37 % self.count], str(number)
            took.append(
                await self._until(
                    seen,
                    name,
                    lambda name, value=value: _annotation(seen.get(DEPLOYMENTS, name)) == value,
                    DEPLOYMENTS,
                    {"metadata": {"annotations": {FLOOR_LABEL: value}}},
                )
            )
        section.add("floor: a patch until a watch shows it, p50", percentile(took, 0.5), "s")
        section.add("floor: a patch until a watch shows it, p99", percentile(took, 0.99), "s")
        section.raw["floor_change_s"] = took
        await self._remove_floor()

    async def _remove_floor(self) -> None:
        for plural in (DEPLOYMENTS, SECRETS):
            path = self.client.path(plural)
            await self.client.did("DELETE", path, labelSelector=FLOOR_LABEL)

    async def _until(
        self,
        seen: Following,
        name: str,
        is_so: Callable[[str], bool],
        plural: str,
        patch: Object,
    ) -> float:
        """Seconds from sending a patch until it is so."""
        started = time.monotonic()
        waiting = asyncio.create_task(seen.until({name}, is_so, seconds=_CHANGE_SECONDS))
        await self.client.did("PATCH", self.client.path(plural, name), patch, MERGE)
        return (await waiting)[name] - started

    async def _apply(self, wanted: Iterable[tuple[str, Object]]) -> float:
        """Apply all, some at a time; when the last was answered."""
        await in_parallel(apply(self.client, *each) for each in wanted)
        return time.monotonic()


async def in_parallel(work: Iterable[Awaitable[None]], at_once: int = _AT_ONCE) -> None:
    """Await all, so many at a time; the first error ends it."""
    remaining = iter(work)

    async def some() -> None:
        for each in remaining:
            await each

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(some())


async def apply(client: ApiClient, plural: str, obj: Object) -> None:
    """Server-side apply, as `kubectl apply --server-side` does."""
    status, answer = await client.apply(plural, obj, _MANAGER)
    if status not in (200, 201):
        raise RuntimeError(f"{obj['kind']} {obj['metadata']['name']}: {answer.get('message')}")


async def prepare(client: ApiClient, *, environment: str) -> None:
    """Apply the Broker and the Strategy that all share, and wait until the Broker is ready."""
    if environment != "simulator":
        await apply(client, SECRETS, documents.credentials())
    await apply(client, BROKERS, documents.broker(environment=environment))
    await apply(client, STRATEGIES, documents.strategy())
    async with following(client, (BROKERS, "", str)) as seen:
        await seen.until(
            {documents.BROKER},
            lambda name: condition(seen.get(BROKERS, name), "Ready").get("status") == "True",
            seconds=_READY_SECONDS,
        )


def is_reconciled(seen: Following, name: str) -> bool:
    """Whether child and status are those of the resource as it is."""
    found = seen.get(ACTIVE_STRATEGIES, name)
    child = seen.get(DEPLOYMENTS, runner_name(name))
    if found is None or child is None:
        return False
    generation = found["metadata"]["generation"]
    summary = condition(found, "Ready")
    return bool(
        found.get("status", {}).get("observedGeneration") == generation
        and summary.get("observedGeneration") == generation
        and (summary.get("status"), summary.get("reason")) == ("False", "Suspended")
        and child["spec"]["replicas"] == 0
        and child["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    )


def is_settled(seen: Following, name: str) -> bool:
    """Whether the status also says that the child is as wanted."""
    found = seen.get(ACTIVE_STRATEGIES, name)
    return is_reconciled(seen, name) and condition(found, "Deployed").get("status") == "True"


def condition(found: Object | None, kind: str) -> Object:
    """A condition of the object, {} when it has none."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def _memory_limit(seen: Following, name: str) -> str | None:
    """Of the child of an active strategy."""
    child = seen.get(DEPLOYMENTS, runner_name(name))
    if child is None:
        return None
    (container,) = child["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


def _is_observed(found: Object | None) -> bool:
    if found is None:
        return False
    observed = (found.get("status") or {}).get("observedGeneration")
    return bool(observed == found["metadata"]["generation"])


def _annotation(found: Object | None) -> str | None:
    annotations = (found or {"metadata": {}})["metadata"].get("annotations") or {}
    value: str | None = annotations.get(FLOOR_LABEL)
    return value


def _without(prefix: str) -> Callable[[str], str]:
    return lambda name: name.removeprefix(prefix)
