"""A simulated account is opened at the simulator, whenever that comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aristobot.simulator.server import serve
from aristobot.simulator.settings import SimulatorSettings
from tests.component.operator.conftest import NAMESPACE, World, broker


@pytest.fixture
async def hanging(free_tcp_port: int) -> AsyncIterator[asyncio.Server]:
    """It takes connections and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", free_tcp_port) as server:
        yield server


@pytest.fixture
def simulated(world: World, free_tcp_port: int) -> World:
    world.settings = {"simulatorUrl": f"http://127.0.0.1:{free_tcp_port}"}
    world.api.put(broker(environment="simulator", credentialsSecretRef=None))
    return world


async def test_one_that_came_up_late_is_found_soon_and_keeps_its_keys(
    simulated: World, free_tcp_port: int
) -> None:
    async with simulated.operator():
        await simulated.ready("Broker", "main", "SimulatorAway", "False")
        stop = asyncio.Event()
        running = asyncio.create_task(serve(SimulatorSettings(port=free_tcp_port), stop))
        # An account that is open is looked at once a minute.
        await simulated.ready("Broker", "main", "Ready")
        keys = simulated.api.secret(NAMESPACE, "main-simulator")
        assert keys["apiKey"] != keys["apiSecret"]
        # It comes back as it was: with other keys its orders and positions would be nobody's.
        simulated.api.delete("Secret", NAMESPACE, "main-simulator")
        await simulated.eventually(
            lambda: simulated.api.secret(NAMESPACE, "main-simulator") == keys, seconds=5
        )
        stop.set()
        await asyncio.wait_for(running, 5)


async def test_a_status_doesn_t_wait_for_it(simulated: World, hanging: asyncio.Server) -> None:
    async with simulated.operator():
        await simulated.eventually(lambda: simulated.condition("Broker", "main"), seconds=4)
        said = simulated.condition("Broker", "main")
        assert (said["reason"], said["status"]) == ("CredentialsMissing", "False")
        found = simulated.api.get("Broker", NAMESPACE, "main")
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        await simulated.ready("Broker", "main", "SimulatorAway", "False")
