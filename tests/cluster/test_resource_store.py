"""A ResourceStore's promises, kept on the API server of the test cluster, CEL rules and all."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.support.resource_stores")

from aristobot.core.errors import Misconfigured  # noqa: E402
from aristobot.platform import kube_api  # noqa: E402
from aristobot.platform.kubeconfig import read_access  # noqa: E402
from aristobot.platform.kubernetes_store import KubernetesResourceStore  # noqa: E402
from tests.support.resource_stores import (  # noqa: E402
    Place,
    ResourceStoreConformance,
    RulesConformance,
)

KINDS = ("ActiveStrategy", "Broker", "Strategy")
SECRET = "keys"


@pytest.fixture
async def api(cluster: dict[str, Any]) -> AsyncIterator[kube_api.KubeApi]:
    context = cluster["current-context"]
    async with kube_api.connect(read_access(context, os.environ)) as api:
        yield api


@pytest.fixture(scope="module")
def owners(cluster: dict[str, Any], definitions: None) -> Iterator[list[str]]:
    """Two new namespaces; they are asked to go and not waited for, which takes seconds."""
    suffix = secrets.token_hex(4)
    names = [f"store-test-{suffix}-{number}" for number in (1, 2)]

    async def change(*, create: bool) -> None:
        async with kube_api.connect(read_access(cluster["current-context"], os.environ)) as api:
            for name in names:
                if create:
                    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                    await api.create("/api/v1/namespaces", body)
                else:
                    await api.delete(f"/api/v1/namespaces/{name}")

    asyncio.run(change(create=True))
    yield names
    asyncio.run(change(create=False))


@pytest.fixture
async def place(api: kube_api.KubeApi, owners: list[str]) -> AsyncIterator[Place]:
    """Both owners have nothing of what the checks make."""
    store = KubernetesResourceStore(api)
    yield Place(store, *owners)
    for owner in owners:
        for kind in KINDS:
            for left in await store.list(owner, kind):
                await store.delete(owner, kind, left.name)
        await store.delete(owner, "Secret", SECRET)


class TestCluster(ResourceStoreConformance, RulesConformance):
    pass


async def test_a_field_that_the_crds_do_not_have_is_refused(
    place: Place, api: kube_api.KubeApi
) -> None:
    path = f"/apis/trading.aristobot.io/v1alpha1/namespaces/{place.owner}/brokers"
    newer = {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": "main"},
        "spec": {"exchange": "binance", "environment": "simulator", "protection": "all"},
    }
    with pytest.raises(Misconfigured, match=r'unknown field "spec\.protection"'):
        await api.create(path, newer)
    assert await place.store.get(place.owner, "Broker", "main") is None
