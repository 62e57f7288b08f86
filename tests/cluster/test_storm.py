"""Pods deleted at random while alerts come in: nothing is lost, nothing is doubled.

By chance, and so with the other runs of that kind: `make test-cluster ARGS="-m cluster"`.
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from rich.console import Console

from tests.cluster import documents
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.release import NAMESPACE, OTHER_OWNER, Release
from tests.cluster.storm import Senders
from tests.harness.platform import eventually

_SECONDS = 70.0
_ALERTS = 90
#: Each so often. What is a Deployment's may be taken away at once, without a word to its process;
#: of a StatefulSet Kubernetes wants no second pod while the first may live, so it gets a second.
_AT_ONCE = ("gateway", "gateway", "engine", "engine", "ingress", "operator", "api")
_WITHIN_A_SECOND = ("nats", "postgres", "simulator")


class _Killer:
    def __init__(self, release: Release, owners: tuple[str, ...], dice: random.Random) -> None:
        self._owners = [release.owner(owner) for owner in owners]
        self._dice = dice
        self.killed: list[str] = []

    async def run(self, seconds: float) -> None:
        victims = [*_AT_ONCE, *_WITHIN_A_SECOND]
        self._dice.shuffle(victims)
        moments = sorted(self._dice.uniform(0.0, seconds) for _ in victims)
        started = time.monotonic()
        for victim, moment in zip(victims, moments, strict=True):
            await asyncio.sleep(max(0.0, started + moment - time.monotonic()))
            await asyncio.to_thread(self._kill, victim)

    def _kill(self, component: str) -> None:
        selector = f"app.kubernetes.io/component={component}"

        def alive() -> list[tuple[Kubectl, Object]]:
            return [
                (owner, pod)
                for owner in self._owners
                for pod in owner.pods(selector)
                if pod["status"]["phase"] == "Running"
            ]

        # One that is just being made again is waited for.
        found = eventually(alive, seconds=60, what=f"a running pod of {component}")
        owner, pod = self._dice.choice(found)
        how = ("--grace-period=0", "--force") if component in _AT_ONCE else ("--grace-period=1",)
        owner.run("delete", "pod", pod["metadata"]["name"], "--wait=false", *how)
        self.killed.append(component)


@pytest.mark.chaos
def test_nothing_is_lost_or_doubled_while_pods_are_deleted(release: Release) -> None:
    seed = random.randrange(1_000_000)
    owners = {"storm-one": NAMESPACE, "storm-two": OTHER_OWNER}
    for name, owner in owners.items():
        release.owner(owner).apply(documents.broker(name))
    for name, owner in owners.items():
        release.ready("broker", name, owner)
    senders = Senders(release, owners, seed)
    killer = _Killer(release, (NAMESPACE, OTHER_OWNER), random.Random(seed))

    async def storm() -> None:
        await senders.open_positions()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(senders.send(_ALERTS, _SECONDS))
            tasks.create_task(killer.run(_SECONDS))

    asyncio.run(storm())
    result = senders.assert_nothing_lost_or_doubled()
    assert sorted(killer.killed) == sorted((*_AT_ONCE, *_WITHIN_A_SECOND))
    Console().print(result.table())
    for name, owner in owners.items():
        release.ready("broker", name, owner)
