"""Before an uninstallation: every resource is let go of, though the operator is still at work."""

from __future__ import annotations

import asyncio

import pytest
from lightkube import KubeConfig

from aristobot.contracts.kubernetes import IN_USE_FINALIZER, WIND_DOWN_FINALIZER
from aristobot.core.errors import Fenced, Retryable
from aristobot_operator.release import release
from aristobot_operator.settings import OperatorSettings
from tests.component.operator.conftest import NAMESPACE, World, active, broker, keys, strategy


async def _release(world: World) -> list[str]:
    settings = OperatorSettings.model_validate(world.document())
    return await release(settings, kube_config=KubeConfig.from_dict(world.api.config))


def _finalizers(world: World, kind: str, name: str) -> list[str]:
    found = world.api.get(kind, NAMESPACE, name)
    return found["metadata"].get("finalizers") or []


async def test_what_the_operator_holds_is_let_go_and_stays_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The operator finds out that its lease was seized at the next renewal.
    monkeypatch.setattr("aristobot_operator.leader._RENEW_SECONDS", 0.3)
    monkeypatch.setattr("aristobot_operator.release.NOTICED_SECONDS", 1.0)
    for document in (keys(), broker(), strategy(), active(onDelete="cancelOrders")):
        world.api.put(document)
    other = active("other", onDelete="cancelOrders", symbol="ETHUSDT")
    other["metadata"]["finalizers"] = ["example.com/theirs"]
    world.api.put(other)
    with pytest.RaisesGroup(Fenced, flatten_subgroups=True, allow_unwrapped=True):
        async with world.operator() as running:
            await world.eventually(
                lambda: WIND_DOWN_FINALIZER in _finalizers(world, "ActiveStrategy", "at-work")
            )
            await world.eventually(lambda: IN_USE_FINALIZER in _finalizers(world, "Broker", "main"))
            said = await _release(world)
            assert f"activestrategy/at-work of {NAMESPACE} let go" in said
            assert f"broker/main of {NAMESPACE} let go" in said
            await asyncio.wait([running], timeout=10)
            assert running.done()
    assert _finalizers(world, "ActiveStrategy", "at-work") == []
    assert _finalizers(world, "ActiveStrategy", "other") == ["example.com/theirs"]
    assert _finalizers(world, "Broker", "main") == []
    world.api.delete("ActiveStrategy", NAMESPACE, "at-work")
    assert world.api.find("ActiveStrategy", NAMESPACE, "at-work") is None


async def test_what_somebody_puts_back_each_time_has_an_end_and_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot_operator.release.NOTICED_SECONDS", 0.1)
    monkeypatch.setattr("aristobot_operator.release._ROUND_SECONDS", 0.05)
    world.api.put(active(onDelete="cancelOrders"))

    async def put_back() -> None:
        held = {"metadata": {"finalizers": [WIND_DOWN_FINALIZER]}}
        while True:
            world.api.patch("ActiveStrategy", NAMESPACE, "at-work", held)
            await asyncio.sleep(0.01)

    somebody = asyncio.create_task(put_back())
    with pytest.raises(Retryable, match="at-work"):
        async with asyncio.timeout(10):
            await _release(world)
    somebody.cancel()


async def test_without_resources_it_is_done_at_once(world: World) -> None:
    async with asyncio.timeout(5):
        assert await _release(world) == ["there is no resource to let go of"]
