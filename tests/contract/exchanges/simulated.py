"""The simulator as the conformance suite sees it: a running exchange and its control endpoint.

One exchange runs for the whole session, in a thread with its own event loop, so that a case's
client never shares a loop with what it talks to. Each case has accounts of its own on it.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop

from aristobot.simulator.server import serve
from aristobot.simulator.settings import SimulatorSettings

FUNDS = {"USDT": "10000", "BTC": "1"}
START_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Credentials:
    key: str
    secret: str


@dataclass(frozen=True)
class Simulated:
    """The base address, and the control endpoint that only a simulator has."""

    origin: str
    control: httpx.AsyncClient

    async def calm(self) -> None:
        """No fault armed, the true time, nobody banned."""
        (await self.control.delete("/control/faults")).raise_for_status()
        limits = {"weight_per_minute": 6000}
        (await self.control.put("/control/limits", json=limits)).raise_for_status()

    async def new_account(self, funds: Mapping[str, str] = FUNDS) -> Credentials:
        made = Credentials(uuid.uuid4().hex * 2, uuid.uuid4().hex * 2)
        body = {"secret": made.secret, "balances": dict(funds)}
        answer = await self.control.put(f"/control/accounts/{made.key}", json=body)
        answer.raise_for_status()
        return made

    async def fault(self, kind: str, *, times: int = 1, **details: Any) -> None:
        """Let the next `times` matching requests (by default: placed orders) go wrong."""
        answer = await self.control.post(
            "/control/faults", json={"kind": kind, "times": times, **details}
        )
        answer.raise_for_status()

    async def skew(self, milliseconds: int) -> None:
        """Put the exchange's clock ahead of this machine's (or behind, if negative)."""
        await self.fault("clock_skew", seconds=milliseconds / 1000)

    async def set_price(self, symbol: str, price: str) -> None:
        """Jump there and stay."""
        answer = await self.control.post(
            "/control/price", json={"symbol": symbol, "price": price, "freeze": True}
        )
        answer.raise_for_status()


@contextmanager
def running_simulator(folder: Path | None = None, port: int = 0) -> Iterator[str]:
    """The origin of an exchange, kept in memory without a folder, on a free port without one."""
    listening: Future[int] = Future()
    stopping: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stop = asyncio.Event()
        stopping.set_result((asyncio.get_running_loop(), stop))
        try:
            settings = SimulatorSettings(port=port, data_dir=folder, tick_seconds=0.05)
            await serve(settings, stop, on_ready=listening.set_result)
        except BaseException as error:
            # Handed to whoever waits for the port; the thread itself shows it as well.
            if not listening.done():
                listening.set_exception(error)
            raise

    thread = threading.Thread(target=uvloop.run, args=(run(),), name="simulator")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.result(timeout=START_SECONDS)}"
    finally:
        loop, stop = stopping.result(timeout=START_SECONDS)
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=STOP_SECONDS)
        assert not thread.is_alive(), "the simulator did not stop"
