"""What /readyz and /metrics say of an operator, from its first step on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf
import pytest
from lightkube import KubeConfig

from aristobot_operator import metrics
from aristobot_operator.kube import Kube
from aristobot_operator.server import Operator
from aristobot_operator.settings import OperatorSettings
from tests.component.operator.conftest import NAMESPACE, World, broker, keys
from tests.support.kube_api import KubeApi


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[Operator]:
    """An operator that leads."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return world.api.login

    kube = Kube(KubeConfig.from_dict(world.api.config))
    settings = OperatorSettings.model_validate(world.document())
    operator = Operator(settings, kube, "first", registry)
    assert operator.problems() == []  # a standby lacks nothing
    running = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=10)
        assert running.cancelled()
        await kube.close()


async def test_one_that_can_t_list_isn_t_ready_and_says_why(world: World) -> None:
    """As when an owner's RoleBinding was taken away."""
    world.api.fail_next(1000, 403, method="GET", path="strategies")
    async with at_work(world) as operator:
        await world.eventually(
            lambda: "a test wants this request to fail" in " ".join(operator.problems())
        )


async def test_one_at_work_is_ready_and_its_queue_runs_empty(world: World) -> None:
    for document in (keys(), broker()):
        world.api.put(document)
    async with at_work(world) as operator:
        await world.eventually(operator.problems)
        await world.ready("Broker", "main", "Ready")
        await world.eventually(lambda: operator.problems() == [])
        await world.eventually(lambda: _value(metrics.QUEUED) == 0)


class TestOfAnotherOwner:
    @pytest.fixture
    async def api(self) -> AsyncIterator[KubeApi]:
        async with KubeApi(namespaces=(NAMESPACE, "elsewhere")) as api:
            yield api

    async def test_what_nobody_owns_is_no_work(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The release's own namespace is watched for its Secrets and need not be an owner."""
        world.settings = {"owners": ["elsewhere"]}
        world.api.put(broker())
        metrics.LAST_SUCCESS.set(0)
        async with at_work(world) as operator:
            await world.eventually(operator.problems)
            await world.eventually(lambda: operator.problems() == [])
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now + 3600)
            metrics.WATCH_AGREED.set(now + 3600)
            assert operator.problems() == []
            assert "status" not in world.api.get("Broker", NAMESPACE, "main")


def _value(gauge: Any) -> float:
    (metric,) = gauge.collect()
    return float(metric.samples[0].value)
