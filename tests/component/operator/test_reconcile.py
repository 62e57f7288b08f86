"""What a user is promised of the three resources, on an API server of our own and a real NATS."""

from __future__ import annotations

import asyncio

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.messages import StrategyPhase
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
)
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from tests.component.operator.conftest import NAMESPACE, World, active, broker, keys, strategy


async def test_a_broker_gets_its_gateway(world: World, bus: Bus) -> None:
    world.api.put(keys())
    world.api.put(broker(number=7))
    async with world.operator():
        await world.ready("Broker", "main", "Ready")
        deployment = world.api.get("Deployment", NAMESPACE, "gateway-main")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["gateway", "--broker", f"{NAMESPACE}.main"]
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
        (owner,) = deployment["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Broker", "main", True)
        own = world.api.secret(NAMESPACE, "gateway-main")
        assert own["database-url"].startswith("postgresql://aristobot:")
        assert "BEGIN NATS USER JWT" in own["nats.creds"]

        async def is_told() -> bool:
            value = (await Bucket(bus, BROKERS_BUCKET).read())[f"{NAMESPACE}.main"]
            record = BrokerRecord.model_validate_json(value)
            return (record.number, record.market) == (7, "binance")

        await world.eventually(is_told)
        token = world.api.secret(NAMESPACE, "main-webhook")["token"]
        assert len(token) > 30
        assert await Bucket(bus, TOKENS_BUCKET).read()


async def test_missing_credentials_are_named_and_then_found(world: World) -> None:
    world.api.put(broker())
    async with world.operator():
        await world.ready("Broker", "main", "CredentialsMissing", "False")
        assert "there is no Secret keys" in world.condition("Broker", "main")["message"]
        assert world.api.find("Deployment", NAMESPACE, "gateway-main") is None
        world.api.put(keys())
        await world.ready("Broker", "main", "Ready")


async def test_changed_credentials_roll_the_gateway(world: World) -> None:
    world.api.put(keys())
    world.api.put(broker())
    async with world.operator():
        await world.ready("Broker", "main", "Ready")

        def annotation() -> str:
            found = world.api.get("Deployment", NAMESPACE, "gateway-main")
            annotations = found["spec"]["template"]["metadata"]["annotations"]
            return str(annotations["trading.aristobot.io/secrets"])

        before = annotation()
        world.api.put(keys(apiKey="key", apiSecret="secret", synchronized="12:00"))
        await asyncio.sleep(0.5)
        assert annotation() == before  # nothing that it reads
        world.api.put(keys(apiKey="another", apiSecret="secret"))
        await world.eventually(lambda: annotation() != before)


async def test_an_active_strategy_gets_its_pod_and_is_told(world: World, bus: Bus) -> None:
    for document in (keys(), broker(), strategy(), active()):
        world.api.put(document)
    async with world.operator():
        await world.ready("ActiveStrategy", "at-work", "Starting", "False")
        deployment = world.api.get("Deployment", NAMESPACE, "runner-at-work")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["runner", "--strategy", f"{NAMESPACE}.at-work"]
        assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
        assert world.api.get("ActiveStrategy", NAMESPACE, "at-work")["status"]["timeframe"] == "1m"

        uid = world.api.get("ActiveStrategy", NAMESPACE, "at-work")["metadata"]["uid"]

        async def is_told() -> bool:
            value = (await Bucket(bus, STRATEGIES_BUCKET).read())[f"{NAMESPACE}.at-work"]
            record = ActiveStrategyRecord.model_validate_json(value)
            return (record.uid, record.symbol, record.active) == (uid, "BTCUSDT", True)

        await world.eventually(is_told)


async def test_ready_is_about_the_code_that_stands_there_now(world: World, bus: Bus) -> None:
    """New code changes neither the resource's uid nor its generation."""
    for document in (keys(), broker(), strategy(), active()):
        world.api.put(document)

    async def record() -> ActiveStrategyRecord:
        entries = await Bucket(bus, STRATEGIES_BUCKET).read()
        return ActiveStrategyRecord.model_validate_json(entries[f"{NAMESPACE}.at-work"])

    async def runs(told: ActiveStrategyRecord) -> None:
        """What its runner says then."""
        said = told.say(StrategyPhase.RUNNING, "Running", "it decides on each closed candle")
        await Bucket(bus, STRATEGY_STATUS_BUCKET).put(f"{NAMESPACE}.at-work", said.encode())

    async with world.operator():
        await world.ready("ActiveStrategy", "at-work", "Starting", "False")
        uid = world.api.get("ActiveStrategy", NAMESPACE, "at-work")["metadata"]["uid"]

        async def is_told(text: str = "") -> bool:
            told = await record()
            return told.uid == uid and text in told.code

        await world.eventually(is_told)
        await runs(await record())
        await world.ready("ActiveStrategy", "at-work", "Running", "True")
        world.api.put(strategy(code="new = 1"))
        await world.ready("ActiveStrategy", "at-work", "Starting", "False")
        await world.eventually(lambda: is_told("new = 1"))
        await runs(await record())
        await world.ready("ActiveStrategy", "at-work", "Running", "True")
