"""The WebSocket API and the user data stream, spoken by hand."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.component.simulator.conftest import KEY, SECRET, Venue


class Stream:
    """A WebSocket API connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def receive(self, seconds: float = 3) -> Any:
        return json.loads(await asyncio.wait_for(self.socket.recv(), seconds))

    async def call(self, method: str, **params: Any) -> Any:
        await self.socket.send(json.dumps({"id": method, "method": method, "params": params}))
        return await self.receive()

    async def subscribe(self, secret: str = SECRET, **changes: Any) -> Any:
        params = {"apiKey": KEY, "timestamp": int(time.time() * 1000), **changes}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        signature = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        return await self.call("userDataStream.subscribe.signature", **params, signature=signature)

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [(await self.receive())["event"] for _ in range(count)]


@contextlib.asynccontextmanager
async def opened(venue: Venue) -> AsyncIterator[Stream]:
    async with connect(f"{venue.ws}/ws-api/v3", proxy=None) as socket:
        yield Stream(socket)


@pytest.fixture
async def stream(venue: Venue) -> AsyncIterator[Stream]:
    async with opened(venue) as stream:
        yield stream


async def test_plain_methods(stream: Stream) -> None:
    pong = await stream.call("ping")
    assert (pong["id"], pong["status"], pong["result"]) == ("ping", 200, {})
    assert pong["rateLimits"][0]["rateLimitType"] == "REQUEST_WEIGHT"
    assert pong["rateLimits"][0]["limit"] == 6000
    assert abs((await stream.call("time"))["result"]["serverTime"] - time.time() * 1000) < 2000
    for method, status in (("userDataStream.start", 410), ("session.logon", 400), ("no.such", 400)):
        answer = await stream.call(method)
        assert (answer["status"], answer["error"]["code"]) == (status, -1020)
    await stream.socket.send("{broken")
    assert (await stream.receive())["status"] == 400


async def test_subscribing(stream: Stream) -> None:
    assert (await stream.subscribe(secret="wrong"))["error"]["code"] == -1022
    assert (await stream.subscribe(apiKey="nobody"))["error"]["code"] == -2015
    assert (await stream.subscribe(timestamp=1))["error"]["code"] == -1021
    assert (await stream.subscribe())["result"] == {"subscriptionId": 0}
    assert (await stream.subscribe())["error"]["code"] == -2035
    assert (await stream.call("session.subscriptions"))["result"] == [{"subscriptionId": 0}]
    unknown = await stream.call("userDataStream.unsubscribe", subscriptionId=9)
    assert unknown["error"]["code"] == -2036
    assert (await stream.call("userDataStream.unsubscribe"))["result"] == {}
    assert (await stream.subscribe())["result"] == {"subscriptionId": 1}


async def test_events_of_a_market_order(venue: Venue, stream: Stream) -> None:
    await stream.subscribe()
    placed = (await venue.buy(quantity="0.01", newClientOrderId="ev-1")).json()
    new, locked, trade, position = await stream.events(4)
    assert (new["x"], new["X"], new["c"], new["i"]) == ("NEW", "NEW", "ev-1", placed["orderId"])
    assert new["t"] == -1
    assert locked["e"] == "outboundAccountPosition"
    assert (trade["x"], trade["X"], trade["z"]) == ("TRADE", "FILLED", "0.01000000")
    assert (trade["n"], trade["N"]) == ("0.00001000", "BTC")
    assert trade["t"] == placed["fills"][0]["tradeId"]
    balances = {row["a"]: (row["f"], row["l"]) for row in position["B"]}
    assert balances["BTC"] == ("1.00999000", "0.00000000")


async def test_events_of_a_cancel_and_of_an_expiry(venue: Venue, stream: Stream) -> None:
    await stream.subscribe()
    await venue.limit("90000", "0.01", newClientOrderId="ev-2")
    await venue.signed(
        "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="ev-2",
        newClientOrderId="cancel-2",
    )  # fmt: skip
    events = await stream.events(4)
    cancel = events[2]
    assert (cancel["x"], cancel["X"]) == ("CANCELED", "CANCELED")
    assert (cancel["C"], cancel["c"]) == ("ev-2", "cancel-2")
    await venue.limit("90000", "0.01", timeInForce="FOK")
    expiry = (await stream.events(4))[2]
    assert (expiry["x"], expiry["eR"]) == ("EXPIRED", "UNFILLED_FOK_ORDER_EXPIRED")


async def test_a_reset_is_told_as_balance_updates(venue: Venue, stream: Stream) -> None:
    await stream.subscribe()
    body = {"secret": SECRET, "balances": {"USDT": "12000", "BTC": "1"}, "reset": True}
    await venue.control("PUT", f"/accounts/{KEY}", body)
    update, position = await stream.events(2)
    assert (update["e"], update["a"], update["d"]) == ("balanceUpdate", "USDT", "2000.00000000")
    assert position["B"] == [{"a": "USDT", "f": "12000.00000000", "l": "0.00000000"}]


async def test_dropped_sockets(venue: Venue, stream: Stream) -> None:
    await stream.subscribe()
    async with opened(venue) as unsubscribed:
        assert (await venue.fault("drop_socket"))["happened"] == 1
        with pytest.raises(ConnectionClosed):
            await stream.receive()
        assert (await unsubscribed.call("ping"))["status"] == 200
        await venue.buy()
        assert (await unsubscribed.subscribe())["status"] == 200  # and no event from before


async def test_muted_stream_is_late_but_complete(venue: Venue, stream: Stream) -> None:
    await stream.subscribe()
    await venue.fault("mute_stream", seconds=0.6)
    started = time.monotonic()
    await venue.buy(newClientOrderId="m-1")
    await venue.buy(newClientOrderId="m-2")
    events = await stream.events(8)
    assert time.monotonic() - started > 0.4
    assert [e["c"] for e in events if e["e"] == "executionReport"] == ["m-1", "m-1", "m-2", "m-2"]
    assert await venue.control("GET", "/faults") == []


async def test_market_streams(venue: Venue) -> None:
    streams = "ethusdt@kline_1m/ethusdt@aggTrade/ethusdt@miniTicker"
    async with connect(f"{venue.ws}/stream?streams={streams}", proxy=None) as socket:
        stream = Stream(socket)
        seen: dict[str, Any] = {}
        async with asyncio.timeout(5):
            while len(seen) < 3:
                message = await stream.receive()
                seen[message["stream"]] = message["data"]
    assert seen["ethusdt@kline_1m"]["k"]["x"] is False
    assert seen["ethusdt@aggTrade"]["p"] > "0"
    async with connect(f"{venue.ws}/ws/0", proxy=None) as socket:
        stream = Stream(socket)
        await socket.send('{"method":"SUBSCRIBE","params":["nosuch@trade"],"id":1}')
        assert "error" in await stream.receive()
        await socket.send('{"method":"SUBSCRIBE","params":["solusdt@trade"],"id":2}')
        assert await stream.receive() == {"result": None, "id": 2}
        assert (await stream.receive())["s"] == "SOLUSDT"
