"""A ResourceStore's promises, kept on the API server of the test cluster, CEL rules and all."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.support.resource_stores")

from aristobot.core.errors import Misconfigured  # noqa: E402
from aristobot.platform import kube_api  # noqa: E402
from aristobot.platform.kubeconfig import read_access  # noqa: E402
from aristobot.platform.kubernetes_store import KubernetesResourceStore  # noqa: E402
from tests.cluster.test_api_conformance import CONFIG, CONTEXT  # noqa: E402
from tests.support.resource_stores import (  # noqa: E402
    Place,
    ResourceStoreConformance,
    RulesConformance,
)

pytestmark = pytest.mark.skipif(CONFIG is None, reason=f"KUBECONFIG is not at {CONTEXT}")


@pytest.fixture
async def api() -> AsyncIterator[kube_api.KubeApi]:
    async with kube_api.connect(read_access(CONTEXT, os.environ)) as api:
        yield api


@pytest.fixture
async def place(api: kube_api.KubeApi) -> AsyncIterator[Place]:
    """Two new namespaces; they are asked to go and not waited for, which takes seconds each."""
    suffix = secrets.token_hex(4)
    owners = [f"store-test-{suffix}-{number}" for number in (1, 2)]
    for owner in owners:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": owner}}
        await api.create("/api/v1/namespaces", body)
    yield Place(KubernetesResourceStore(api), *owners)
    for owner in owners:
        await api.delete(f"/api/v1/namespaces/{owner}")


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
