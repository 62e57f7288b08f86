"""Deleting what holds something: stopped, sold by the engine, told all the while, then gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aristobot.contracts.kubernetes import IN_USE_FINALIZER, WIND_DOWN_FINALIZER
from aristobot.platform.bus import Bus
from tests.component.operator.books import Books
from tests.component.operator.conftest import NAMESPACE, World, active

THEIRS = "example.com/theirs"


@pytest.fixture
async def books(bus: Bus) -> Books:
    return Books(bus)


def finalizers(world: World, kind: str, name: str) -> list[str]:
    found = world.api.get(kind, NAMESPACE, name)
    return found["metadata"].get("finalizers") or []


async def holds(world: World, kind: str = "ActiveStrategy", name: str = "at-work") -> None:
    ours = {"ActiveStrategy": WIND_DOWN_FINALIZER, "Broker": IN_USE_FINALIZER}[kind]
    await world.eventually(lambda: ours in finalizers(world, kind, name))


async def test_it_is_stopped_sold_once_and_gone_and_its_broker_after_it(
    at_work: World, books: Books
) -> None:
    at_work.api.put(active(onDelete="closePositions"))
    async with at_work.operator():
        await holds(at_work)
        await holds(at_work, "Broker", "main")
        at_work.api.delete("Broker", NAMESPACE, "main")
        await at_work.ready("Broker", "main", "InUse", "False")
        assert "at-work" in at_work.condition("Broker", "main")["message"]
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        # The engine is away: that is said, of this generation, though nothing could be done.
        await at_work.ready("ActiveStrategy", "at-work", "WindingDown", "False")
        found = at_work.api.get("ActiveStrategy", NAMESPACE, "at-work")
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        assert found["status"]["phase"] == "WindingDown"
        await at_work.eventually(
            lambda: "engine" in at_work.condition("ActiveStrategy", "at-work")["message"]
        )
        assert at_work.api.get("Deployment", NAMESPACE, "runner-at-work")["spec"]["replicas"] == 0
        await books.serve()
        for kind, name in (("ActiveStrategy", "at-work"), ("Broker", "main")):
            await at_work.eventually(
                lambda kind=kind, name=name: at_work.api.find(kind, NAMESPACE, name) is None
            )
        (sale,) = books.sales
        assert (sale.active_strategy, sale.broker, sale.symbol) == ("at-work", "main", "BTCUSDT")
        assert "WoundDown" in [each[1] for each in at_work.api.events(NAMESPACE)]


@pytest.mark.parametrize("on_delete", [{}, {"onDelete": "detach"}])
async def test_what_is_to_be_left_as_it_is_goes_at_once(
    at_work: World, on_delete: dict[str, Any]
) -> None:
    at_work.api.put(active(**on_delete))
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        assert finalizers(at_work, "ActiveStrategy", "at-work") == []
        assert finalizers(at_work, "Broker", "main") == []
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        assert at_work.api.find("ActiveStrategy", NAMESPACE, "at-work") is None


async def test_what_was_deleted_in_the_foreground_is_not_made_again(at_work: World) -> None:
    """Kubernetes then deletes the children first, while the resource is still there."""
    at_work.api.put(active(onDelete="closePositions"))
    children = [("Deployment", "runner-at-work"), ("Secret", "runner-at-work")]
    async with at_work.operator():
        await holds(at_work)
        for kind, name in children:
            await at_work.eventually(
                lambda kind=kind, name=name: at_work.api.find(kind, NAMESPACE, name)
            )
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        for kind, name in children:
            at_work.api.delete(kind, NAMESPACE, name)
        await at_work.ready("ActiveStrategy", "at-work", "WindingDown", "False")
        await asyncio.sleep(2.5)  # another look at it
        for kind, name in children:
            assert at_work.api.find(kind, NAMESPACE, name) is None, kind


async def test_a_gateway_that_is_needed_comes_back_and_its_broker_s_deletion_lets_it(
    at_work: World,
) -> None:
    at_work.api.put(active(onDelete="closePositions"))
    async with at_work.operator():
        await at_work.ready("Broker", "main", "Ready")
        await holds(at_work, "Broker", "main")
        at_work.api.delete("Broker", NAMESPACE, "main")
        await at_work.ready("Broker", "main", "InUse", "False")
        at_work.api.delete("Deployment", NAMESPACE, "gateway-main")
        at_work.api.delete("Secret", NAMESPACE, "main-webhook")
        gateway = await at_work.eventually(
            lambda: at_work.api.find("Deployment", NAMESPACE, "gateway-main")
        )
        # Or Kubernetes would delete it each time.
        (owner,) = gateway["metadata"]["ownerReferences"]
        assert owner["blockOwnerDeletion"] is False
        # A token of a broker that goes would lead nowhere.
        assert at_work.api.find("Secret", NAMESPACE, "main-webhook") is None


@pytest.mark.parametrize(("kind", "name"), [("ActiveStrategy", "at-work"), ("Broker", "main")])
async def test_the_finalizers_of_others_are_named_and_the_runner_stops(
    at_work: World, kind: str, name: str
) -> None:
    at_work.api.patch(kind, NAMESPACE, name, {"metadata": {"finalizers": [THEIRS]}})
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        at_work.api.delete(kind, NAMESPACE, name)
        await at_work.ready(kind, name, "Terminating", "False")
        assert THEIRS in at_work.condition(kind, name)["message"]
        found = at_work.api.get(kind, NAMESPACE, name)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        wanted = 0 if kind == "ActiveStrategy" else 1
        deployment = at_work.api.get("Deployment", NAMESPACE, "runner-at-work")
        assert deployment["spec"]["replicas"] == wanted
        assert finalizers(at_work, kind, name) == [THEIRS]
