"""The operator as a process: ended in order, killed, and two of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from tests.component.operator.conftest import NAMESPACE, World, broker, keys


@asynccontextmanager
async def operator_process(
    world: World, folder: Path, name: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`aristobot operator`, as a pod runs it, but for the kubeconfig."""
    config = folder / "operator.yaml"
    config.write_text(yaml.safe_dump(world.document()))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "KUBECONFIG": str(world.api.write_kubeconfig(folder / "kubeconfig")),
        "ARISTOBOT_OPERATOR_CONFIG": str(config),
        "ARISTOBOT_INSTANCE": name,
    }
    with (folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aristobot", "operator"),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def holder(world: World) -> str | None:
    lease = world.api.find("Lease", NAMESPACE, "aristobot-operator")
    return lease["spec"]["holderIdentity"] if lease else None


async def test_ended_in_order_it_gives_its_lease_back_and_the_standby_begins_at_once(
    world: World, tmp_path: Path
) -> None:
    world.api.put(keys())
    async with operator_process(world, tmp_path, "first") as first:
        await world.eventually(lambda: holder(world) == "first")
        world.api.put(broker())
        await world.ready("Broker", "main", "Ready")
        async with operator_process(world, tmp_path, "second"):
            first.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                code = await first.wait()
            assert code == 0, (tmp_path / "first.log").read_text()
            # The lease lasts 15 s; given back, it need not be waited for.
            await world.eventually(lambda: holder(world) == "second")
            world.api.put(broker("other", number=2))
            await world.ready("Broker", "other", "Ready")
