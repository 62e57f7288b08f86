"""A gateway ends when it is told to, at whatever moment of its start that is."""

from __future__ import annotations

import asyncio

from tests.component.gateway.conftest import Desk


async def test_a_gateway_that_is_stopped_while_it_starts_ends(desk: Desk) -> None:
    """NATS's client can swallow a cancellation, and the process would then stay for ever."""
    await desk.stop()
    for milliseconds in range(20, 70, 5):
        await desk.start()
        await asyncio.sleep(milliseconds / 1000)
        async with asyncio.timeout(20):
            await desk.stop()
    await desk.start()
