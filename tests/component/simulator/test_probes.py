"""What the simulator's pod is asked by Kubernetes."""

from __future__ import annotations

import errno
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager

from aristobot.simulator.app import create_app
from aristobot.simulator.settings import SimulatorSettings
from tests.component.local.conftest import eventually


async def test_it_is_ready_as_long_as_it_can_keep_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(SimulatorSettings(data_dir=tmp_path, tick_seconds=0.01))
    transport = httpx.ASGITransport(app)
    async with LifespanManager(app), httpx.AsyncClient(transport=transport) as client:

        async def answer(path: str) -> tuple[int, str]:
            found = await client.get(f"http://simulator{path}")
            return found.status_code, found.text

        async def is_ready() -> bool:
            return (await answer("/readyz"))[0] == 200

        assert await is_ready()
        assert "aristobot_" in (await answer("/metrics"))[1]

        def disk_is_full() -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(app.state.exchange, "tick", disk_is_full)

            async def is_unready() -> bool:
                return not await is_ready()

            await eventually(is_unready)
            status, text = await answer("/readyz")
            assert (status, "No space left on device" in text) == (503, True)
            assert (await answer("/healthz"))[0] == 200
        await eventually(is_ready)
