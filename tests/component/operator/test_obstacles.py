"""What stands in the way of a pod: names that others use, entries of theirs, and refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.component.operator.conftest import NAMESPACE, World, active, broker, keys
from tests.support.kube_api import KubeApi

LABELS = {"app": "theirs"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"namespace": NAMESPACE, "labels": LABELS},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "x", "image": "theirs:1"}]},
        },
    },
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"namespace": NAMESPACE},
    "data": {"theirs": "eA=="},
}
#: How often the operator looks at what waits for a person, instead of every two seconds.
_LOOK_SECONDS = 0.1
_SEVERAL_LOOKS = 10 * _LOOK_SECONDS


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("brokers", "active_strategies"):
        monkeypatch.setattr(f"aristobot_operator.acting.{kind}._WAIT_SECONDS", _LOOK_SECONDS)


def named(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "name": name}}


def writes(api: KubeApi, path: str, method: str = "PATCH") -> int:
    return len(api.requests(method, path))


@pytest.mark.parametrize("theirs", [DEPLOYMENT, SECRET], ids=["Deployment", "Secret"])
@pytest.mark.parametrize(
    ("kind", "name", "child"),
    [("Broker", "main", "gateway-main"), ("ActiveStrategy", "at-work", "runner-at-work")],
)
async def test_what_has_the_name_is_left_alone_and_the_status_says_so_once(
    at_work: World, theirs: dict[str, Any], kind: str, name: str, child: str
) -> None:
    found = at_work.api.put(named(theirs, child))
    async with at_work.operator():
        await at_work.ready(kind, name, "NameTaken", "False")
        for condition in ("Ready", "Deployed"):
            said = at_work.condition(kind, name, condition)
            assert (said["reason"], child in said["message"]) == ("NameTaken", True)
        if kind == "ActiveStrategy":
            await at_work.ready("Broker", "main", "Ready")
        await asyncio.sleep(0.5)
        before = writes(at_work.api, "/status")
        await asyncio.sleep(_SEVERAL_LOOKS)
        assert writes(at_work.api, "/status") == before
        assert at_work.condition(kind, name)["reason"] == "NameTaken"
        at_work.api.delete(kind, NAMESPACE, name)
        await at_work.eventually(lambda: at_work.api.find(kind, NAMESPACE, name) is None)
        left = at_work.api.get(theirs["kind"], NAMESPACE, child)
        for part in ("uid", "labels", "ownerReferences", "generation"):
            assert left["metadata"].get(part) == found["metadata"].get(part), part
        assert left.get("data") == found.get("data")


async def test_an_entry_that_somebody_added_to_our_secret_rolls_nothing(at_work: World) -> None:
    async with at_work.operator():
        await at_work.ready("Broker", "main", "Ready")
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        for name in ("gateway-main", "runner-at-work", "aristobot-engine-nats"):
            if at_work.api.find("Secret", NAMESPACE, name) is not None:
                at_work.api.patch("Secret", NAMESPACE, name, {"data": {"note": "eA=="}})
        await asyncio.sleep(0.5)
        before = [writes(at_work.api, path) for path in ("secrets", "deployments")]
        credentials = at_work.api.secret(NAMESPACE, "gateway-main")
        await asyncio.sleep(1.5)
        assert [writes(at_work.api, path) for path in ("secrets", "deployments")] == before
        assert at_work.api.secret(NAMESPACE, "gateway-main") == credentials
        generations = {
            each["metadata"]["name"]: each["metadata"]["generation"]
            for each in at_work.api.list("Deployment", NAMESPACE)
        }
        assert generations == {"gateway-main": 1, "runner-at-work": 1}
        # And a new operator takes them as they are.
    async with at_work.operator():
        await asyncio.sleep(1.5)
        assert at_work.api.secret(NAMESPACE, "gateway-main") == credentials


async def test_a_refusal_of_the_api_server_is_told_and_tried_again(world: World) -> None:
    for document in (keys(), broker()):
        world.api.put(document)
    world.api.fail_next(3, 403, method="PATCH", path="deployments")
    async with world.operator():
        await world.ready("Broker", "main", "Denied", "False")
        said = world.condition("Broker", "main", "Deployed")
        assert (said["reason"], said["status"]) == ("Denied", "False")
        assert "a test wants this request to fail" in said["message"]
        written = writes(world.api, "brokers/main/status")
        await world.eventually(lambda: writes(world.api, "deployments") >= 3)
        assert writes(world.api, "brokers/main/status") == written  # the same is said once
        await world.ready("Broker", "main", "Ready")


async def test_a_refusal_is_forgotten_when_nothing_is_asked_for_any_more(world: World) -> None:
    for document in (keys(), broker()):
        world.api.put(document)
    async with world.operator():
        await world.ready("Broker", "main", "Ready")
        world.api.fail_next(1000, 422, method="PATCH", path="deployments")
        world.api.put(keys(apiKey="another", apiSecret="secret"))
        await world.ready("Broker", "main", "Denied", "False")
        world.api.put(keys())  # as the gateway has them
        await world.ready("Broker", "main", "Ready")


async def test_what_is_to_rest_does_so_though_its_secret_is_somebody_else_s(
    at_work: World,
) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
    at_work.api.delete("Secret", NAMESPACE, "runner-at-work")
    at_work.api.put(named(SECRET, "runner-at-work"))
    at_work.api.put(active(paused=True))
    async with at_work.operator():
        await at_work.eventually(
            lambda: (
                at_work.api.get("Deployment", NAMESPACE, "runner-at-work")["spec"]["replicas"] == 0
            )
        )
        await at_work.ready("ActiveStrategy", "at-work", "Suspended", "False")
        said = at_work.condition("ActiveStrategy", "at-work", "Deployed")
        assert said["reason"] == "NameTaken"


async def test_the_database_s_secret_is_waited_for_without_a_flap(world: World) -> None:
    world.settings = {"embeddedPostgres": None}
    for document in (keys(), broker()):
        world.api.put(document)
    async with world.operator():
        await world.ready("Broker", "main", "PlatformNotReady", "False")
        before = writes(world.api, "/status")
        await asyncio.sleep(_SEVERAL_LOOKS)
        assert writes(world.api, "/status") == before
        world.api.put(keys("aristobot-postgres", **{"database-url": "postgresql://x@db/y"}))
        await world.ready("Broker", "main", "Ready")


async def test_an_orphaned_gateway_is_taken_back(world: World) -> None:
    for document in (keys(), broker()):
        world.api.put(document)
    async with world.operator():
        await world.ready("Broker", "main", "Ready")
        brokers = world.api.kind("Broker")
        world.api.store.delete(
            brokers, NAMESPACE, "main", {"propagationPolicy": "Orphan"}, dry_run=False
        )
        assert world.api.find("Deployment", NAMESPACE, "gateway-main") is not None
        uid = world.api.put(broker())["metadata"]["uid"]
        await world.ready("Broker", "main", "Ready")

        def owners(kind: str) -> list[str]:
            found = world.api.get(kind, NAMESPACE, "gateway-main")
            return [each["uid"] for each in found["metadata"].get("ownerReferences") or ()]

        for kind in ("Deployment", "Secret"):
            await world.eventually(lambda kind=kind: owners(kind) == [uid])
