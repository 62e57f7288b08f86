"""A gateway ends when it is told to, at whatever moment of its start that is."""

from __future__ import annotations

import asyncio

import pytest

from aristobot.core.orders import Side
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
