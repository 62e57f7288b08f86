"""The double does what a real API server does; tests/cluster runs the same checks on one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.kube_api import KubeApi, definitions
from tests.support.kube_api.bare import ApiClient, connected
from tests.support.kube_api.conformance import ApiConformance


@pytest.fixture
async def server() -> AsyncIterator[ApiClient]:
    async with (
        KubeApi(namespaces=("double-test",), crds=definitions()) as api,
        connected(api.config, "double-test") as client,
    ):
        yield client


class TestDouble(ApiConformance):
    pass
