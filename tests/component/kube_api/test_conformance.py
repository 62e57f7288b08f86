"""The double does what a real API server does; tests/cluster runs the same checks on one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.support.kube_api.conformance")

from tests.support.kube_api import KubeApi, definitions  # noqa: E402
from tests.support.kube_api.conformance import ApiClient, ApiConformance, connected  # noqa: E402


@pytest.fixture
async def server() -> AsyncIterator[ApiClient]:
    async with (
        KubeApi(namespaces=("double-test",), crds=definitions()) as api,
        connected(api.config, "double-test") as client,
    ):
        yield client


class TestDouble(ApiConformance):
    pass
