"""The operator as a process: ended in order, killed, and two of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import yaml

from tests.component.operator.conftest import NAMESPACE, World, broker, keys


@asynccontextmanager
async def operator_process(
    world: World, folder: Path, name: str, admin_port: int | None = None
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
    if admin_port is not None:
        environment["ARISTOBOT_ADMIN_PORT"] = str(admin_port)
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


async def stands_by(world: World, admin_port: int) -> None:
    """Until the operator with that port is up."""
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:

        async def is_up() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get(f"http://127.0.0.1:{admin_port}/readyz")).is_success
            return False

        await world.eventually(is_up)


async def test_ended_in_order_it_gives_its_lease_back_and_the_standby_begins_at_once(
    world: World, tmp_path: Path, free_tcp_port: int
) -> None:
    world.api.put(keys())
    async with operator_process(world, tmp_path, "first") as first:
        await world.eventually(lambda: holder(world) == "first")
        world.api.put(broker())
        await world.ready("Broker", "main", "Ready")
        async with operator_process(world, tmp_path, "second", free_tcp_port):
            await stands_by(world, free_tcp_port)
            first.send_signal(signal.SIGTERM)
            # The lease lasts 15 s; given back, it need not be waited for.
            await world.eventually(lambda: holder(world) == "second", seconds=5)
            async with asyncio.timeout(5):
                code = await first.wait()
            assert code == 0, (tmp_path / "first.log").read_text()
            world.api.put(broker("other", number=2))
            await world.ready("Broker", "other", "Ready")


async def test_killed_in_the_middle_of_its_work_the_standby_finishes_it(
    world: World, tmp_path: Path, free_tcp_port: int
) -> None:
    for document in (keys(), broker()):
        world.api.put(document)
    hanging = world.api.hang_next(1, method="PATCH", path="deployments")
    async with operator_process(world, tmp_path, "first") as first:
        await world.eventually(lambda: hanging.left == 0)
        credentials = world.api.secret(NAMESPACE, "gateway-main")
        async with operator_process(world, tmp_path, "second", free_tcp_port):
            await stands_by(world, free_tcp_port)
            first.kill()
            await first.wait()
            assert holder(world) == "first"
            assert world.api.find("Deployment", NAMESPACE, "gateway-main") is None
            # The lease has to run out: nobody gave it back. Not for all of its 15 s here.
            world.api.patch(
                "Lease", NAMESPACE, "aristobot-operator", {"spec": {"leaseDurationSeconds": 2}}
            )
            await world.eventually(lambda: holder(world) == "second", seconds=10)
            await world.ready("Broker", "main", "Ready")
            # What was done before is taken as it is.
            assert world.api.secret(NAMESPACE, "gateway-main") == credentials
