"""What the simulator answered survives: a stop, a SIGKILL in the middle of orders, a taken port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from aristobot.core.errors import Misconfigured
from aristobot.simulator.server import serve
from aristobot.simulator.settings import SimulatorSettings
from tests.component.simulator.conftest import Venue, running

_PROGRAM = """
import asyncio, sys, uvloop
from pathlib import Path
from aristobot.simulator.server import serve
from aristobot.simulator.settings import SimulatorSettings
settings = SimulatorSettings(port=0, data_dir=Path(sys.argv[1]), tick_seconds=0.05)
uvloop.run(serve(settings, asyncio.Event(), on_ready=lambda port: print(port, flush=True)))
"""


@contextlib.asynccontextmanager
async def _process(folder: Path) -> AsyncIterator[tuple[Venue, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 15))
        venue = Venue(port)
        yield venue, process
        await venue.http.aclose()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigkill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    answered: set[str] = set()
    sent = 0
    for round_number in range(3):
        async with _process(tmp_path) as (venue, process):
            await venue.put_account(USDT="1000000")
            seen = {order["client_id"] for order in await venue.orders()}
            assert answered <= seen

            async def trade(venue: Venue, prefix: str) -> None:
                nonlocal sent
                for number in range(10_000):
                    client_id = f"{prefix}-{number}"
                    sent += 1
                    answer = await venue.buy(quoteOrderQty="10", newClientOrderId=client_id)
                    assert answer.status_code == 200
                    answered.add(client_id)

            traders = [asyncio.create_task(trade(venue, f"r{round_number}t{n}")) for n in range(4)]
            await asyncio.sleep(0.7)
            process.send_signal(signal.SIGKILL)
            results = await asyncio.gather(*traders, return_exceptions=True)
            assert all(isinstance(result, httpx.TransportError) for result in results)
    async with _process(tmp_path) as (venue, _):
        orders = await venue.orders()
        ids = [order["client_id"] for order in orders]
        assert len(ids) == len(set(ids))
        assert answered <= set(ids)
        assert len(answered) > 100
        assert len(ids) <= sent
        assert all(order["status"] == "filled" for order in orders)
        balances = (await venue.put_account())["balances"]
        spent = sum(float(order["executed_quote"]) for order in orders)
        assert float(balances["USDT"]["free"]) == pytest.approx(1_000_000 - spent)


async def test_a_stopped_simulator_comes_back_as_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as venue:
        await venue.put_account()
        await venue.price("100000")
        await venue.buy()
        await venue.limit("90000", "0.01", newClientOrderId="rests")
        before = await venue.orders()
        account = await venue.put_account()
        started = time.monotonic()
    assert time.monotonic() - started < 2
    async with running(tmp_path) as venue:
        assert await venue.orders() == before
        assert await venue.put_account() == account
        price = (await venue.http.get("/api/v3/ticker/price?symbol=BTCUSDT")).json()["price"]
        assert price == "100000.00000000"
        await venue.price("89000")
        assert [order["status"] for order in await venue.orders()] == ["filled", "filled"]
        placed = await venue.buy()
        assert placed.json()["orderId"] == before[-1]["id"] + 1


async def test_stops_in_time_with_open_sockets_and_held_requests(tmp_path: Path) -> None:
    async with running(tmp_path) as venue:
        await venue.put_account()
        await venue.fault("delay", seconds=60)
        held = asyncio.create_task(venue.buy())
        await asyncio.sleep(0.2)
        started = time.monotonic()
        held.cancel()
    assert time.monotonic() - started < 2


async def test_a_taken_port_and_an_unusable_folder_are_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"{port} is taken"):
            await serve(SimulatorSettings(port=port), asyncio.Event())
    (tmp_path / "file").write_text("not a folder")
    settings = SimulatorSettings(port=0, data_dir=tmp_path / "file")
    with pytest.raises(Misconfigured, match="cannot write to"):
        await serve(settings, asyncio.Event())
