"""The watches end alone: what else runs in the process is none of kopf's business."""

from __future__ import annotations

import asyncio
import signal

import kopf

from aristobot_operator.cache import Cache
from aristobot_operator.settings import OperatorSettings
from aristobot_operator.watching import Watches
from tests.component.operator.conftest import NAMESPACE, World, broker


async def test_their_end_ends_no_task_of_ours_and_takes_no_signal(world: World) -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: object) -> kopf.ConnectionInfo:
        return world.api.login

    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, signalled.set)
    cache = Cache()
    watches = Watches(OperatorSettings.model_validate(world.document()), cache, registry=registry)
    watching = asyncio.create_task(watches.run())
    world.api.put(broker())
    await world.eventually(lambda: cache.get("Broker", NAMESPACE, "main"))
    # Begun after kopf, so kopf would take it for one of its own.
    other = asyncio.create_task(asyncio.sleep(3600))
    watching.cancel()
    await asyncio.wait([watching], timeout=10)
    assert watching.cancelled()
    await asyncio.sleep(0)
    assert not other.cancelling()
    other.cancel()
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await signalled.wait()
    loop.remove_signal_handler(signal.SIGTERM)
