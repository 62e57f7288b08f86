"""The checks that the API double passes, on the API server of the test cluster.

They show that what tests of the operator rely on is what Kubernetes does. Everything happens in
one namespace that is made for it and taken away again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.kube_api.bare import BROKERS, MERGE, ApiClient, connected
from tests.support.kube_api.conformance import ApiConformance

#: Another in each run: one that was killed leaves its own behind.
NAMESPACE = f"double-test-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def namespace(cluster: dict[str, Any], definitions: None) -> Iterator[str]:
    path = f"/api/v1/namespaces/{NAMESPACE}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}

    async def begin() -> None:
        async with connected(cluster, NAMESPACE) as client:
            await client.did("POST", "/api/v1/namespaces", body)

    async def end() -> None:
        async with connected(cluster, NAMESPACE) as client:
            # What a failed check left with a finalizer would keep the namespace for ever.
            for left in (await client.did("GET", client.path(BROKERS)))["items"]:
                if left["metadata"].get("finalizers"):
                    name = client.path(BROKERS, left["metadata"]["name"])
                    await client.did("PATCH", name, {"metadata": {"finalizers": None}}, MERGE)
            await client.did("DELETE", path)
            for _ in range(600):
                if (await client.ask("GET", path))[0] == 404:
                    return
                await asyncio.sleep(0.1)
            pytest.fail(f"the namespace {NAMESPACE} does not go away")

    asyncio.run(begin())
    yield NAMESPACE
    asyncio.run(end())


@pytest.fixture
async def server(cluster: dict[str, Any], namespace: str) -> AsyncIterator[ApiClient]:
    async with connected(cluster, namespace) as client:
        yield client


class TestRealServer(ApiConformance):
    pass
