"""The API server took what the operator can't read, since it is older than the definitions.

Nothing is lost by it: what runs stays, what is to be sold is sold, and the status says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aristobot.contracts.keys import token_hash
from aristobot.contracts.kubernetes import WIND_DOWN_FINALIZER
from aristobot.contracts.streams import BROKERS_BUCKET, STRATEGIES_BUCKET, TOKENS_BUCKET
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from tests.component.operator.books import Books
from tests.component.operator.conftest import NAMESPACE, World, active, broker, strategy
from tests.support.kube_api import KubeApi


@pytest.fixture
async def api(newer_crds: list[dict[str, Any]]) -> AsyncIterator[KubeApi]:
    async with KubeApi(namespaces=(NAMESPACE,), crds=newer_crds, deployments_get_ready=True) as api:
        yield api


async def holds(world: World) -> None:
    await world.eventually(
        lambda: (
            world.api.get("ActiveStrategy", NAMESPACE, "at-work")["metadata"]["finalizers"]
            == [WIND_DOWN_FINALIZER]
        )
    )


def replicas(world: World) -> int:
    found = world.api.get("Deployment", NAMESPACE, "runner-at-work")
    return int(found["spec"]["replicas"])


async def test_it_is_sold_all_the_same(at_work: World, bus: Bus) -> None:
    at_work.api.put(active(onDelete="closePositions", later="x"))
    books = Books(bus)
    await books.serve()
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Invalid", "False")
        await holds(at_work)
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        await at_work.eventually(
            lambda: at_work.api.find("ActiveStrategy", NAMESPACE, "at-work") is None
        )
        assert [each.symbol for each in books.sales] == ["BTCUSDT"]


async def test_it_can_be_let_go_as_it_is(at_work: World) -> None:
    """The engine is away."""
    at_work.api.put(active(onDelete="closePositions", later="x"))
    async with at_work.operator():
        await holds(at_work)
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        await at_work.ready("ActiveStrategy", "at-work", "WindingDown", "False")
        at_work.api.patch("ActiveStrategy", NAMESPACE, "at-work", {"spec": {"onDelete": "detach"}})
        await at_work.eventually(
            lambda: at_work.api.find("ActiveStrategy", NAMESPACE, "at-work") is None
        )


async def test_a_strategy_that_becomes_so_rests_and_says_why(at_work: World) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        at_work.api.put(strategy(later="x"))
        await at_work.ready("Strategy", "mine", "Invalid", "False")
        await at_work.ready("ActiveStrategy", "at-work", "Invalid", "False")
        assert "Strategy mine" in at_work.condition("ActiveStrategy", "at-work")["message"]
        await at_work.eventually(lambda: replicas(at_work) == 0)
        at_work.api.put(strategy(later=None))
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        await at_work.eventually(lambda: replicas(at_work) == 1)
        # Our own doing was no drift.
        assert "DriftRepaired" not in [each[1] for each in at_work.api.events(NAMESPACE)]


async def test_a_broker_that_becomes_so_loses_nothing_and_what_trades_on_it_goes_on(
    at_work: World, bus: Bus
) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        token = token_hash(at_work.api.secret(NAMESPACE, "main-webhook")["token"])
        kept = {
            BROKERS_BUCKET: f"{NAMESPACE}.main",
            STRATEGIES_BUCKET: f"{NAMESPACE}.at-work",
            TOKENS_BUCKET: token,
        }

        async def told() -> dict[str, bytes | None]:
            return {name: (await Bucket(bus, name).read()).get(key) for name, key in kept.items()}

        async def is_told() -> bool:
            return None not in (await told()).values()

        await at_work.eventually(is_told)
        before = await told()
        at_work.api.put(broker(later="x"))
        await at_work.ready("Broker", "main", "Invalid", "False")
        await at_work.ready("ActiveStrategy", "at-work", "BrokerNotReady", "False")
        said = at_work.condition("ActiveStrategy", "at-work", "BrokerResolved")
        assert "Broker main can't be read" in said["message"]
        assert "later" in said["message"]
        await asyncio.sleep(1)
        assert await told() == before
        assert replicas(at_work) == 1
    # Neither does a new operator take anything away.
    async with at_work.operator():
        await asyncio.sleep(2)
        assert await told() == before
        assert replicas(at_work) == 1
