"""Pausing, drift, names that are taken, what is left alone, and going away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aristobot.contracts.kubernetes import WIND_DOWN_FINALIZER
from aristobot.contracts.streams import STRATEGIES_BUCKET, TOKENS_BUCKET
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot_operator.canary import SilentWatch
from tests.component.operator.conftest import NAMESPACE, World, active, broker, keys, strategy


def replicas(world: World, name: str = "runner-at-work") -> int:
    found = world.api.get("Deployment", NAMESPACE, name)
    return int(found["spec"]["replicas"])


@pytest.mark.parametrize(
    ("spec", "reason", "phase"),
    [
        ({"paused": True}, "Suspended", "Paused"),
        ({"active": False}, "Stopped", "Stopped"),
        ({"end": "2026-01-01T00:00:00Z"}, "AfterEnd", "Ended"),
        ({"start": "2099-01-01T00:00:00Z"}, "BeforeStart", "Paused"),
    ],
)
async def test_what_is_to_rest_has_no_pod_and_says_why(
    at_work: World, spec: dict[str, Any], reason: str, phase: str
) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        at_work.api.put(active(**spec))
        await at_work.ready("ActiveStrategy", "at-work", reason, "False")
        await at_work.eventually(lambda: replicas(at_work) == 0)
        found = at_work.api.get("ActiveStrategy", NAMESPACE, "at-work")
        assert found["status"]["phase"] == phase
        generation = found["metadata"]["generation"]
        assert found["status"]["observedGeneration"] == generation
        assert all(
            each["observedGeneration"] == generation for each in found["status"]["conditions"]
        )


async def test_a_changed_or_deleted_child_is_put_back(at_work: World) -> None:
    async with at_work.operator():
        await at_work.ready("Broker", "main", "Ready")
        at_work.api.patch("Deployment", NAMESPACE, "gateway-main", {"spec": {"replicas": 3}})
        await at_work.eventually(lambda: replicas(at_work, "gateway-main") == 1)

        def repairs() -> int:
            return [each[1] for each in at_work.api.events(NAMESPACE)].count("DriftRepaired")

        await at_work.eventually(repairs)
        await asyncio.sleep(0.5)  # what our own repair changed is no drift
        assert repairs() == 1
        smuggled = at_work.api.get("Deployment", NAMESPACE, "gateway-main")
        (container,) = smuggled["spec"]["template"]["spec"]["containers"]
        container["env"].append({"name": "ARISTOBOT_EXCHANGE_URL", "value": "http://evil"})
        at_work.api.put(smuggled)
        await at_work.eventually(lambda: "evil" not in str(at_work.api.list("Deployment")))
        at_work.api.delete("Deployment", NAMESPACE, "gateway-main")
        await at_work.eventually(lambda: replicas(at_work, "gateway-main") == 1)
        at_work.api.patch("Secret", NAMESPACE, "gateway-main", {"data": {"nats.creds": "eA=="}})
        await at_work.eventually(
            lambda: "JWT" in at_work.api.secret(NAMESPACE, "gateway-main")["nats.creds"]
        )


async def test_an_annotation_keeps_the_operator_s_hands_off(at_work: World) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        annotations = {"trading.aristobot.io/reconcile": "disabled"}
        at_work.api.patch(
            "ActiveStrategy", NAMESPACE, "at-work", {"metadata": {"annotations": annotations}}
        )
        await at_work.eventually(
            lambda: (
                at_work.condition("ActiveStrategy", "at-work", "Paused")["reason"]
                == "ReconcileDisabled"
            )
        )
        at_work.api.patch("Deployment", NAMESPACE, "runner-at-work", {"spec": {"replicas": 0}})
        at_work.api.put(active(name="other"))
        await at_work.ready("ActiveStrategy", "other", "Starting", "False")
        assert replicas(at_work) == 0


async def test_missing_references_are_named(world: World) -> None:
    world.api.put(active())
    async with world.operator():
        await world.ready("ActiveStrategy", "at-work", "StrategyNotFound", "False")
        world.api.put(strategy())
        await world.ready("ActiveStrategy", "at-work", "BrokerNotFound", "False")
        world.api.put(keys())
        world.api.put(broker(tradingMode="webhook"))
        await world.ready("ActiveStrategy", "at-work", "TradingMode", "False")
        world.api.put(broker())
        await world.ready("ActiveStrategy", "at-work", "Starting", "False")


async def test_code_comes_from_a_config_map_and_a_change_reaches_the_runner(
    at_work: World, bus: Bus
) -> None:
    at_work.api.put(strategy(code=None, codeConfigMapRef={"name": "code", "key": "strategy.py"}))
    async with at_work.operator():
        await at_work.ready("Strategy", "mine", "ConfigMapNotFound", "False")
        await at_work.ready("ActiveStrategy", "at-work", "ConfigMapNotFound", "False")

        async def told() -> bytes:
            return (await Bucket(bus, STRATEGIES_BUCKET).read()).get(f"{NAMESPACE}.at-work", b"")

        for text in ("first = 1", "second = 2"):
            at_work.api.put(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "code", "namespace": NAMESPACE},
                    "data": {"strategy.py": text},
                }
            )

            async def is_told(text: str = text) -> bool:
                return text.encode() in await told()

            await at_work.eventually(is_told)
        await at_work.ready("Strategy", "mine", "Ready")


async def test_only_what_has_to_be_wound_down_is_held(at_work: World) -> None:
    """What was given `detach`, also while it hung, is deleted as it is, with no operator even."""

    def held(name: str) -> list[str]:
        found = at_work.api.get("ActiveStrategy", NAMESPACE, name)
        return found["metadata"].get("finalizers") or []

    def told(name: str, on_delete: str) -> None:
        symbol = {"at-work": "BTCUSDT", "other": "ETHUSDT"}[name]
        at_work.api.put(active(name, onDelete=on_delete, symbol=symbol))

    told("at-work", "detach")
    told("other", "closePositions")
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "other", "Starting", "False")
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        assert held("other") == [WIND_DOWN_FINALIZER]
        assert held("at-work") == []
        told("other", "detach")
        await at_work.eventually(lambda: held("other") == [])


async def test_what_is_deleted_is_forgotten_everywhere(at_work: World, bus: Bus) -> None:
    async with at_work.operator():
        await at_work.ready("ActiveStrategy", "at-work", "Starting", "False")
        token = at_work.api.secret(NAMESPACE, "main-webhook")["token"]
        at_work.api.delete("ActiveStrategy", NAMESPACE, "at-work")
        at_work.api.delete("Broker", NAMESPACE, "main")
        await at_work.eventually(lambda: not at_work.api.list("Deployment", NAMESPACE))
        secrets = {each["metadata"]["name"] for each in at_work.api.list("Secret", NAMESPACE)}
        assert not {"gateway-main", "runner-at-work", "main-webhook"} & secrets

        async def forgotten() -> bool:
            strategies = await Bucket(bus, STRATEGIES_BUCKET).read()
            return f"{NAMESPACE}.at-work" not in strategies

        await at_work.eventually(forgotten)
        from aristobot.contracts.keys import token_hash

        assert token_hash(token) not in await Bucket(bus, TOKENS_BUCKET).read()


async def test_a_broker_that_failed_to_be_applied_is_tried_again(at_work: World) -> None:
    at_work.api.fail_next(3, 500, method="PATCH", path="deployments")
    async with at_work.operator():
        await at_work.ready("Broker", "main", "Ready")


async def test_what_went_away_between_list_and_watch_is_forgotten(
    at_work: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No watch shows it, so it proves nothing against one."""
    monkeypatch.setattr("aristobot_operator.canary.LOOK_SECONDS", 0.3)
    monkeypatch.setattr("aristobot_operator.canary.AGAIN_SECONDS", 0.3)
    async with at_work.operator() as running:
        await at_work.ready("Broker", "main", "Ready")
        with at_work.api.silence("Deployment"):
            at_work.api.delete("Deployment", NAMESPACE, "gateway-main")
            await at_work.eventually(
                lambda: at_work.api.find("Deployment", NAMESPACE, "gateway-main")
            )
        assert not running.done()


async def test_a_silent_watch_is_noticed(at_work: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aristobot_operator.canary.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("aristobot_operator.canary.AGAIN_SECONDS", 0.5)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with at_work.operator() as running:
            await at_work.ready("Broker", "main", "Ready")
            with at_work.api.silence("Broker"):
                at_work.api.put(broker(number=3))
                await at_work.eventually(running.done)
    assert raised.group_contains(SilentWatch, match="main", depth=3)
