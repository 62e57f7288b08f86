"""The checks that the API double passes, on the API server of the test cluster.

They show that what tests of the operator rely on is what Kubernetes does. Everything happens in
one namespace that is made for it and taken away again. Our CustomResourceDefinitions have to be
there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aristobot.contracts.kubernetes import GROUP
from tests.support.kube_api.bare import BROKERS, MERGE, ApiClient, connected
from tests.support.kube_api.conformance import ApiConformance

NAMESPACE = "double-test"
CONTEXT = "aristobot-test"


def kubeconfig() -> dict[str, Any] | None:
    """What KUBECONFIG names, if its current context is the one made for tests."""
    path = Path(os.environ.get("KUBECONFIG", ""))
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if found.get("current-context") == CONTEXT else None


CONFIG = kubeconfig()
pytestmark = pytest.mark.skipif(CONFIG is None, reason=f"KUBECONFIG is not at {CONTEXT}")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    assert CONFIG is not None
    path = f"/api/v1/namespaces/{NAMESPACE}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}

    async def begin() -> None:
        async with connected(CONFIG, NAMESPACE) as client:
            groups = (await client.did("GET", "/apis"))["groups"]
            if all(group["name"] != GROUP for group in groups):
                pytest.fail(f"no kinds of {GROUP} on the cluster: install charts/aristobot-crds")
            await client.did("POST", "/api/v1/namespaces", body)

    async def end() -> None:
        async with connected(CONFIG, NAMESPACE) as client:
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
async def server(namespace: str) -> AsyncIterator[ApiClient]:
    assert CONFIG is not None
    async with connected(CONFIG, namespace) as client:
        yield client


class TestRealServer(ApiConformance):
    pass
