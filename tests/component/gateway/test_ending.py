"""A gateway ends when it is told to, at whatever moment of its start that is."""

from __future__ import annotations

import asyncio

import pytest

from aristobot.contracts.streams import ORDERS, gateway_consumer
from aristobot.contracts.workload import API_KEY_VARIABLE, API_SECRET_VARIABLE
from aristobot.core.orders import Side
from aristobot.gateway.server import serve
from aristobot.platform.settings import ServiceSettings
from tests.component.gateway.conftest import Desk, eventually


async def test_a_gateway_that_is_stopped_while_it_starts_ends(desk: Desk) -> None:
    """NATS's client can swallow a cancellation, and the process would then stay for ever."""
    await desk.stop()
    for milliseconds in range(20, 70, 5):
        await desk.start()
        await asyncio.sleep(milliseconds / 1000)
        async with asyncio.timeout(20):
            await desk.stop()
    await desk.start()


@pytest.mark.parametrize("kind", ["delay", "slow_answer"])
async def test_an_order_that_is_under_way_when_it_is_stopped_is_found_again(
    desk: Desk, kind: str
) -> None:
    """The request is on its way to the exchange, or its answer on the way back."""
    await desk.exchange.fault(kind, seconds=1.5, path="POST /api/v3/order")
    command = desk.command(Side.BUY, quantity="0.01")
    await desk.send(command)

    await eventually(desk.rows, what="the intent")
    await asyncio.sleep(0.3)
    await desk.restart()
    row = await desk.ended(command)
    assert row["status"] == "filled"
    await desk.assert_books_agree()
    assert len(await desk.at_exchange()) == 1


async def test_an_order_that_is_under_way_when_it_is_told_to_stop_is_ended_first(
    desk: Desk, nats_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.stop()
    for name, value in {
        "ARISTOBOT_NATS_URL": nats_url,
        "ARISTOBOT_DATABASE_URL": postgres_url,
        "ARISTOBOT_EXCHANGE": "binance",
        "ARISTOBOT_EXCHANGE_ENVIRONMENT": "simulator",
        "ARISTOBOT_EXCHANGE_URL": desk.exchange.origin,
        API_KEY_VARIABLE: desk.api_key,
        API_SECRET_VARIABLE: desk.api_secret,
    }.items():
        monkeypatch.setenv(name, value)
    stop = asyncio.Event()
    gateway = asyncio.create_task(serve(ServiceSettings.read(), str(desk.key), stop))
    await desk.exchange.fault("delay", seconds=0.8, path="POST /api/v3/order")
    command = await desk.send(desk.command(Side.BUY, quantity="0.01"))
    await eventually(desk.rows, what="the intent")
    await desk.send(desk.command(Side.BUY, quantity="0.01"))
    stop.set()
    async with asyncio.timeout(5):
        await gateway
    # The first is acknowledged, and the second hasn't been begun.
    assert [row["status"] for row in await desk.rows()] == ["filled"]
    assert await desk.bus.consumer_pending(ORDERS, gateway_consumer(desk.key)) == 1
    assert (await desk.ended(command))["attempt"] == 1
    await desk.start()
