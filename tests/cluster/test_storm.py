"""Pods deleted at random while alerts come in: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import random
import time

from rich.console import Console

from tests.cluster import documents
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.release import NAMESPACE, OTHER_OWNER, Release
from tests.cluster.storm import Senders, seed_of, seeded
from tests.harness.platform import eventually

_SECONDS = 60.0
_ALERTS = 90
#: Each so often.
_DEPLOYED = ("gateway", "gateway", "engine", "engine", "ingress", "operator", "api")
_STATEFUL = ("nats", "postgres", "simulator")
#: Told to end and given its time; killed after a second; and forgotten by the API server at once,
#: so that its process may live on beside its successor. The last not for a StatefulSet's pod, of
#: which Kubernetes wants no second while the first may live.
_TOLD = ()
_KILLED = ("--grace-period=1",)
_FORGOTTEN = ("--grace-period=0", "--force")


class _Killer:
    def __init__(self, release: Release, owners: tuple[str, ...], dice: random.Random) -> None:
        self._owners = [release.owner(owner) for owner in owners]
        self._dice = dice
        self.killed: list[str] = []

    async def run(self, seconds: float) -> None:
        victims = [*_DEPLOYED, *_STATEFUL]
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
        ways = (_TOLD, _KILLED) if component in _STATEFUL else (_TOLD, _KILLED, _FORGOTTEN)
        how = self._dice.choice(ways)
        owner.run("delete", "pod", pod["metadata"]["name"], "--wait=false", *how)
        self.killed.append(component)


def test_nothing_is_lost_or_doubled_while_pods_are_deleted(release: Release) -> None:
    seed = seed_of()
    owners = {seeded("storm-one", seed): NAMESPACE, seeded("storm-two", seed): OTHER_OWNER}
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
    assert sorted(killer.killed) == sorted((*_DEPLOYED, *_STATEFUL))
    Console().print(result.table())
    for name, owner in owners.items():
        release.ready("broker", name, owner)
