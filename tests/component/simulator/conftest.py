"""A simulator on a real socket, in this process (fast) or in one of its own (to be killed)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from aristobot.simulator.server import serve
from aristobot.simulator.settings import SimulatorSettings

KEY, SECRET = "test-key", "test-secret"


class Venue:
    """A running simulator and a client of it, signed by hand (not by the product's client)."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}"
        self.http = httpx.AsyncClient(base_url=self.base, timeout=10, trust_env=False)

    async def signed(
        self,
        method: str,
        path: str,
        *,
        key: str = KEY,
        secret: str = SECRET,
        timestamp: int | None = None,
        **params: Any,
    ) -> httpx.Response:
        params["timestamp"] = timestamp or int(time.time() * 1000)
        payload = urlencode(params)
        signature = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        return await self.http.request(
            method, f"{path}?{payload}&signature={signature}", headers={"X-MBX-APIKEY": key}
        )

    async def order(self, **params: Any) -> httpx.Response:
        return await self.signed("POST", "/api/v3/order", **params)

    async def buy(self, **params: Any) -> httpx.Response:
        """A market buy of 100 USDT of BTC unless told otherwise."""
        if "quantity" not in params:
            params.setdefault("quoteOrderQty", "100")
        return await self.order(**{"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", **params})

    async def limit(
        self, price: str, quantity: str, side: str = "BUY", **more: Any
    ) -> httpx.Response:
        return await self.order(
            **{
                "symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC",
                "price": price, "quantity": quantity, **more,
            }
        )  # fmt: skip

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        response = await self.http.request(method, f"/control{path}", json=body)
        assert response.status_code < 300, response.text
        return response.json()

    async def fault(self, kind: str, **more: Any) -> Any:
        return await self.control("POST", "/faults", {"kind": kind, **more})

    async def price(self, price: str, symbol: str = "BTCUSDT") -> Any:
        """Set the price and stop the walk there."""
        body = {"symbol": symbol, "price": price, "freeze": True}
        return await self.control("POST", "/price", body)

    async def orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.control("GET", f"/orders?api_key={KEY}")
        return found

    async def put_account(self, key: str = KEY, **balances: str) -> Any:
        body = {"secret": SECRET, "balances": balances or {"USDT": "10000", "BTC": "1"}}
        return await self.control("PUT", f"/accounts/{key}", body)


Running = Callable[..., AbstractAsyncContextManager[Venue]]


@contextlib.asynccontextmanager
async def running(data_dir: Path | None = None, tick_seconds: float = 0.05) -> AsyncIterator[Venue]:
    """A simulator in this process."""
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = SimulatorSettings(
        host="127.0.0.1", port=0, data_dir=data_dir, seed=7, tick_seconds=tick_seconds
    )
    task = asyncio.create_task(serve(settings, stop, on_ready=port.set_result))
    done, _ = await asyncio.wait([task, port], timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    venue = Venue(port.result())
    try:
        yield venue
    finally:
        await venue.http.aclose()
        stop.set()
        await asyncio.wait_for(task, 5)


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    """An in-memory simulator with one account and BTCUSDT frozen at 100,000."""
    async with running() as venue:
        await venue.put_account()
        await venue.price("100000")
        yield venue
