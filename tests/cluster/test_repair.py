"""What somebody changes is put back, and an operator that dies in its work loses nothing of it."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest

from tests.cluster import documents
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.release import NAMESPACE, Release, timed
from tests.cluster.storm import Senders
from tests.harness.platform import eventually

#: Wanted by the issue: from the change to the repair.
_REPAIR_SECONDS = 5.0
_OPERATOR = "app.kubernetes.io/component=operator"
_READ_ONLY = "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem"
_DRIFTS: dict[str, tuple[str, ...]] = {
    "no replica": ("scale", "deployment", "NAME", "--replicas=0"),
    "another image": ("set", "image", "deployment/NAME", "gateway=example.com/other:1"),
    "a root file system to write to": (
        *("patch", "deployment", "NAME", "--type=json", "-p"),
        json.dumps([{"op": "replace", "path": _READ_ONLY, "value": False}]),
    ),
    "another variable": ("set", "env", "deployment/NAME", "ADDED=by-hand"),
    "deleted": ("delete", "deployment", "NAME", "--wait=false"),
}


@pytest.fixture(scope="module")
def gateway(release: Release) -> str:
    """The Deployment of a broker that is Ready."""
    release.kubectl.apply(documents.broker("mended"))
    release.ready("broker", "mended")
    return "gateway-mended"


def _wanted(deployment: Object | None) -> Object:
    """What the operator asks for of it: status and what the API server counts left out."""
    return {} if deployment is None else deployment["spec"]


@pytest.mark.parametrize("drift", _DRIFTS)
def test_a_changed_deployment_is_repaired(release: Release, gateway: str, drift: str) -> None:
    before = _wanted(release.kubectl.get("deployment", gateway))
    release.kubectl.run(*(word.replace("NAME", gateway) for word in _DRIFTS[drift]))
    watch = timed()
    eventually(
        lambda: _wanted(release.kubectl.get("deployment", gateway)) == before,
        seconds=30,
        what=f"the repair ({drift})",
    )
    print(f"\n{drift}: repaired after {watch.seconds:.2f} s")
    assert watch.seconds < _REPAIR_SECONDS
    release.ready("broker", "mended")


def test_what_others_add_to_a_deployment_stays(release: Release, gateway: str) -> None:
    """Server-side apply: the operator insists on its own fields alone."""
    release.kubectl.run("label", "deployment", gateway, "team=trading")
    release.kubectl.run("scale", "deployment", gateway, "--replicas=0")
    eventually(
        lambda: _wanted(release.kubectl.get("deployment", gateway))["replicas"] == 1,
        seconds=30,
        what="the repair",
    )
    found = release.kubectl.get("deployment", gateway)
    assert found is not None
    assert found["metadata"]["labels"]["team"] == "trading"


def test_an_operator_killed_while_credentials_are_rolled_out_loses_nothing(
    release: Release,
) -> None:
    """Alerts come all the while; the new credentials arrive, and each alert has its one order."""
    seed = random.randrange(1_000_000)
    name = "rolled"
    release.kubectl.apply(documents.broker(name))
    release.ready("broker", name)
    senders = Senders(release, {name: NAMESPACE}, seed)
    before = _pods(release.kubectl, name)

    def roll_out() -> None:
        for number in range(3):
            # Any entry counts: the pod is to see its Secret as it is now.
            patch = {"stringData": {"comment": f"change {number}"}}
            release.kubectl.run("patch", "secret", f"{name}-simulator", "-p", json.dumps(patch))
            time.sleep(random.Random(seed + number).uniform(0.0, 0.6))
            release.kubectl.run(
                *("delete", "pod", "-l", _OPERATOR, "--grace-period=0", "--force", "--wait=false")
            )
            time.sleep(4)

    async def work() -> None:
        await senders.open_positions()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(senders.send(25, 25))
            tasks.create_task(asyncio.to_thread(roll_out))

    asyncio.run(work())

    def rolled() -> bool:
        return _pods(release.kubectl, name).isdisjoint(before)

    eventually(rolled, seconds=90, what="the gateway having the new credentials")
    release.ready("broker", name)
    senders.assert_nothing_lost_or_doubled()


def test_a_second_operator_takes_over(release: Release) -> None:
    """The one that holds the Lease goes without a word; the other repairs what changes then."""
    name, broker = f"{release.fullname}-operator", "taken-over"
    release.kubectl.run("scale", "deployment", name, "--replicas=2")
    try:
        release.kubectl.run("rollout", "status", f"deployment/{name}", "--timeout=90s", seconds=100)
        first = _leader(release)
        release.kubectl.run("delete", "pod", first, "--grace-period=0", "--force", "--wait=false")
        watch = timed()
        second = eventually(
            lambda: (now := _leader(release)) != first and now, seconds=60, what="another leader"
        )
        print(f"\nanother operator leads after {watch.seconds:.1f} s")
        assert second in {pod["metadata"]["name"] for pod in release.kubectl.pods(_OPERATOR)}
        release.kubectl.apply(documents.broker(broker))
        release.ready("broker", broker)
    finally:
        release.kubectl.run("scale", "deployment", name, "--replicas=1")


def _leader(release: Release) -> str:
    lease = release.kubectl.get("lease", f"{release.fullname}-operator")
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


def _pods(kubectl: Kubectl, broker: str) -> set[str]:
    found = kubectl.pods(f"trading.aristobot.io/broker={broker}")
    return {pod["metadata"]["uid"] for pod in found}
