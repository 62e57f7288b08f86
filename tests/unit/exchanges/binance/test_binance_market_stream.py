"""The market stream against a server that speaks the documented protocol, and misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from aristobot.core.candle_builder import Trade
from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.market_stream import (
    MAX_STREAMS,
    BinanceMarketStream,
    MarketTimes,
    parse_trade,
)
from aristobot.exchanges.binance.parsing import Unreadable
from aristobot.exchanges.port import MarketConnected, MarketEvent, MarketLost, SymbolUnknown

FAST = MarketTimes(
    message_every=0.01, first_pause=0.01, longest_pause=0.05, overlap=0.1, close_within=0.2
)


def _payload(symbol: str, number: int) -> dict[str, Any]:
    return {
        "e": "trade", "E": 1_700_000_000_100 + number, "s": symbol, "t": number, "p": "100.50",
        "q": "0.25", "T": 1_700_000_000_000 + number, "m": True, "M": True,
    }  # fmt: skip


class Venue:
    """Serves `/stream`; trades are sent to whoever subscribed."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.names: dict[ServerConnection, set[str]] = {}
        self.requests: list[dict[str, Any]] = []
        self.unknown = "nonsense@trade"
        self.ever = 0
        self.port = 0

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/stream"
        self.ever += 1
        self.connections.append(connection)
        self.names[connection] = set()
        try:
            async for text in connection:
                request = json.loads(text)
                self.requests.append(request)
                answer = self._answer(connection, request)
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(json.dumps(answer))
        finally:
            self.connections.remove(connection)
            del self.names[connection]

    def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        if self.unknown in request["params"]:
            return {"error": {"code": 2, "msg": "unknown stream"}, "id": request["id"]}
        names = self.names[connection]
        if request["method"] == "SUBSCRIBE":
            names.update(request["params"])
        else:
            names.difference_update(request["params"])
        return {"result": None, "id": request["id"]}

    async def trade(self, symbol: str, number: int) -> None:
        name = f"{symbol.lower()}@trade"
        text = json.dumps({"stream": name, "data": _payload(symbol, number)})
        for connection in [each for each, names in self.names.items() if name in names]:
            with contextlib.suppress(ConnectionClosed):  # its client has left it just now
                await connection.send(text)

    async def announce_shutdown(self) -> None:
        event = {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}}
        await self.connections[0].send(json.dumps(event))

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(5):
            while sum(bool(names) for names in self.names.values()) != connections:
                await asyncio.sleep(0.005)


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    venue = Venue()
    server: Server
    async with serve(venue.handle, "127.0.0.1", 0) as server:
        venue.port = next(iter(server.sockets)).getsockname()[1]
        yield venue


def _stream(venue: Venue, times: MarketTimes = FAST) -> BinanceMarketStream:
    stream = BinanceMarketStream(f"ws://127.0.0.1:{venue.port}", times=times, jitter=lambda: 0.0)
    stream.follow(["BTCUSDT", "ETHUSDT"])
    return stream


async def _next(events: AsyncIterator[MarketEvent]) -> MarketEvent:
    async with asyncio.timeout(5):
        return await anext(events)


async def _ids(events: AsyncIterator[MarketEvent], count: int) -> list[int]:
    found = [await _next(events) for _ in range(count)]
    assert all(isinstance(event, Trade) for event in found), found
    return [event.id for event in found if isinstance(event, Trade)]


async def test_trades_come_as_they_were_told(venue: Venue) -> None:
    async with aclosing(_stream(venue).events()) as events:
        assert await _next(events) == MarketConnected(frozenset({"BTCUSDT", "ETHUSDT"}))
        await venue.trade("ETHUSDT", 7)
        trade = await _next(events)
        assert trade == Trade(
            "ETHUSDT", 7, Decimal("100.50"), Decimal("0.25"), 1_700_000_000_007, 1_700_000_000_107
        )
        assert venue.requests == [
            {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "ethusdt@trade"], "id": 1}
        ]


async def test_a_lost_connection_is_told_and_made_again(venue: Venue) -> None:
    async with aclosing(_stream(venue).events()) as events:
        await _next(events)
        await venue.connections[0].close()
        assert isinstance(await _next(events), MarketLost)
        assert await _next(events) == MarketConnected(frozenset({"BTCUSDT", "ETHUSDT"}))
        await venue.trade("BTCUSDT", 1)
        assert await _ids(events, 1) == [1]


async def test_a_renewal_ahead_of_the_24_hours_loses_no_trade(venue: Venue) -> None:
    times = replace(FAST, renew_after=0.3)
    async with aclosing(_stream(venue, times).events()) as events:
        await _next(events)
        sending = asyncio.create_task(_send_steadily(venue, 300))
        ids: list[int] = []
        while not ids or ids[-1] < 300:
            event = await _next(events)
            assert isinstance(event, Trade), "a renewal is no interruption"
            ids.append(event.id)
        await sending
        assert venue.ever >= 3, "it was renewed more than once"
        first_seen = list(dict.fromkeys(ids))
        assert first_seen == list(range(1, 301)), "in order, none missing; repeats are allowed"


async def _send_steadily(venue: Venue, count: int) -> None:
    for number in range(1, count + 1):
        await venue.trade("BTCUSDT", number)
        await asyncio.sleep(0.005)


async def test_an_announced_shutdown_is_left_before_it_comes(venue: Venue) -> None:
    async with aclosing(_stream(venue).events()) as events:
        await _next(events)
        await venue.announce_shutdown()
        await venue.until(2)
        await venue.trade("BTCUSDT", 1)
        await venue.until(1)
        await venue.trade("BTCUSDT", 2)
        seen = dict.fromkeys(await _ids(events, 2))
        while 2 not in seen:
            seen |= dict.fromkeys(await _ids(events, 1))
        assert list(seen) == [1, 2]


async def test_an_unknown_symbol_costs_the_others_nothing(venue: Venue) -> None:
    stream = _stream(venue)
    stream.follow(["BTCUSDT", "NONSENSE", "ETHUSDT", "SOLUSDT"])
    async with aclosing(stream.events()) as events:
        followed: set[str] = set()
        unknown = []
        while len(followed) < 3 or not unknown:
            event = await _next(events)
            if isinstance(event, MarketConnected):
                followed |= event.symbols
            else:
                assert isinstance(event, SymbolUnknown)
                unknown.append(event.symbol)
        assert followed == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
        assert unknown == ["NONSENSE"]


async def test_symbols_change_while_it_runs(venue: Venue) -> None:
    stream = _stream(venue)
    async with aclosing(stream.events()) as events:
        await _next(events)
        stream.follow(["ETHUSDT", "SOLUSDT"])
        assert await _next(events) == MarketConnected(frozenset({"SOLUSDT"}))
        await venue.trade("BTCUSDT", 1)
        await venue.trade("ETHUSDT", 2)
        await venue.trade("SOLUSDT", 3)
        assert await _ids(events, 2) == [2, 3]
        assert venue.ever == 1, "on the same connection"


async def test_subscribing_keeps_to_the_limit_of_messages(venue: Venue) -> None:
    times = replace(FAST, message_every=0.1)
    stream = _stream(venue, times)
    stream.follow([f"A{number}USDT" for number in range(500)])
    started = asyncio.get_running_loop().time()
    async with aclosing(stream.events()) as events:
        while len(venue.requests) < 3:
            await _next(events)
        assert asyncio.get_running_loop().time() - started >= 0.2
        assert [len(request["params"]) for request in venue.requests] == [200, 200, 100]


async def test_more_symbols_than_a_connection_carries_are_refused(venue: Venue) -> None:
    with pytest.raises(Misconfigured, match="1025 symbols are too many"):
        _stream(venue).follow([f"A{number}" for number in range(MAX_STREAMS + 1)])


async def test_closing_ends_the_events(venue: Venue) -> None:
    stream = _stream(venue)
    events = stream.events()
    await _next(events)
    await stream.close()
    async with asyncio.timeout(5):
        assert [event async for event in events] == []
        while venue.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "changes",
    [{"p": "0"}, {"p": "NaN"}, {"q": "-1"}, {"t": None}, {"s": None}, {"e": "aggTrade"}, {"T": ""}],
)
def test_what_is_no_trade_is_not_read_as_one(changes: dict[str, Any]) -> None:
    payload = {k: v for k, v in (_payload("A", 1) | changes).items() if v is not None}
    with pytest.raises(Unreadable):
        parse_trade(payload)
