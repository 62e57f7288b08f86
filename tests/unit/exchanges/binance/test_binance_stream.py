"""The private stream against a WebSocket server in the test: subscribing, losing, coming back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from aristobot.exchanges.binance.clock import ExchangeClock
from aristobot.exchanges.binance.limits import RequestBudget, Use
from aristobot.exchanges.binance.signing import signer_for, websocket_signature
from aristobot.exchanges.binance.stream import StreamTimes, UserStream
from aristobot.exchanges.port import (
    BalancesUpdated,
    OrderUpdated,
    StreamConnected,
    StreamEvent,
    StreamLost,
)
from tests.unit.exchanges.binance.conftest import (
    API_KEY,
    API_SECRET,
    QUICK,
    make_client,
    payload,
)

Behaviour = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


def wrapped(event: dict[str, Any]) -> str:
    return json.dumps({"subscriptionId": 0, "event": event})


async def accept(socket: ServerConnection, request: dict[str, Any]) -> None:
    reply = {
        "id": request["id"],
        "status": 200,
        "result": {"subscriptionId": 0},
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 6000,
                "count": 4,
            }
        ],
    }
    await socket.send(json.dumps(reply))


class SocketVenue:
    """One behaviour per connection, the last one for all further ones."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.subscriptions: list[dict[str, Any]] = []
        self.paths: list[str] = []

    async def handle(self, socket: ServerConnection) -> None:
        request = json.loads(await socket.recv())
        self.subscriptions.append(request)
        assert socket.request is not None
        self.paths.append(socket.request.path)
        more = len(self._behaviours) > 1
        behaviour = self._behaviours.pop(0) if more else self._behaviours[0]
        await behaviour(socket, request)


@asynccontextmanager
async def running(venue: SocketVenue, **options: Any) -> AsyncIterator[str]:
    async with serve(venue.handle, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws-api/v3"


def make_stream(
    url: str, times: StreamTimes = QUICK, budget: RequestBudget | None = None
) -> UserStream:
    clock = ExchangeClock()
    return UserStream(
        url,
        api_key=API_KEY,
        signer=signer_for(API_SECRET),
        clock=clock,
        budget=budget or RequestBudget(now_ms=clock.now_ms),
        times=times,
    )


async def take(stream: UserStream, count: int) -> list[StreamEvent]:
    taken: list[StreamEvent] = []
    async with asyncio.timeout(5), aclosing(stream.events()) as events:
        async for event in events:
            taken.append(event)
            if len(taken) == count:
                break
    return taken


def kinds(events: list[StreamEvent]) -> list[type]:
    return [type(event) for event in events]


async def events_then_wait(socket: ServerConnection, request: dict[str, Any]) -> None:
    await accept(socket, request)
    await socket.send(wrapped({"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "1", "T": 1}))
    await socket.send(wrapped(payload("event_trade")))
    await socket.send(wrapped(payload("event_balances")))
    await socket.wait_closed()


async def drop(socket: ServerConnection, request: dict[str, Any]) -> None:
    await accept(socket, request)
    socket.transport.abort()


async def test_subscribes_with_a_signature_and_yields_events() -> None:
    venue = SocketVenue(events_then_wait)
    async with running(venue) as url:
        events = await take(make_stream(url), 3)
    assert kinds(events) == [StreamConnected, OrderUpdated, BalancesUpdated]
    (request,) = venue.subscriptions
    assert venue.paths == ["/ws-api/v3"]
    assert request["method"] == "userDataStream.subscribe.signature"
    params = request["params"]
    signature = params.pop("signature")
    assert set(params) == {"apiKey", "timestamp"}
    assert signature == websocket_signature(params, signer_for(API_SECRET))


async def test_events_that_overtake_the_reply_are_not_lost() -> None:
    async def eager(socket: ServerConnection, request: dict[str, Any]) -> None:
        await socket.send(wrapped(payload("event_new")))
        await events_then_wait(socket, request)

    async with running(SocketVenue(eager)) as url:
        events = await take(make_stream(url), 3)
    assert kinds(events) == [StreamConnected, OrderUpdated, OrderUpdated]


async def test_a_dropped_socket_is_reported_and_replaced() -> None:
    venue = SocketVenue(drop, events_then_wait)
    async with running(venue) as url:
        events = await take(make_stream(url), 4)
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected, OrderUpdated]


@pytest.mark.parametrize("kind", ["eventStreamTerminated", "serverShutdown"])
@pytest.mark.parametrize("is_wrapped", [True, False])
async def test_an_announced_end_leads_to_a_new_subscription(kind: str, is_wrapped: bool) -> None:
    async def announce(socket: ServerConnection, request: dict[str, Any]) -> None:
        await accept(socket, request)
        event = {"e": kind, "E": 1}
        await socket.send(wrapped(event) if is_wrapped else json.dumps(event))
        await socket.wait_closed()

    slow_to_retry = replace(QUICK, first_pause=60.0, longest_pause=60.0)
    async with running(SocketVenue(announce, events_then_wait)) as url:
        events = await take(make_stream(url, slow_to_retry), 4)
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected, OrderUpdated]
    assert events[1] == StreamLost(f"the exchange sent {kind}")


async def test_a_silent_socket_is_noticed() -> None:
    over = asyncio.Event()

    async def fall_silent(socket: ServerConnection, request: dict[str, Any]) -> None:
        await accept(socket, request)
        socket.transport.pause_reading()  # pings are no longer read, so never answered
        await over.wait()

    deaf = {"ping_interval": None, "close_timeout": 0.1}
    async with running(SocketVenue(fall_silent, events_then_wait), **deaf) as url:
        try:
            events = await take(make_stream(url), 3)
        finally:
            over.set()
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected]


async def test_the_connection_is_renewed_ahead_of_its_end() -> None:
    async def wait(socket: ServerConnection, request: dict[str, Any]) -> None:
        await accept(socket, request)
        await socket.wait_closed()

    async with running(SocketVenue(wait)) as url:
        events = await take(make_stream(url, replace(QUICK, renew_after=0.1)), 3)
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected]
    assert "24 h" in str(events[1])


async def test_an_unreadable_event_asks_for_a_look() -> None:
    async def mumble(socket: ServerConnection, request: dict[str, Any]) -> None:
        await accept(socket, request)
        await socket.send(wrapped({**payload("event_new"), "X": "SOMETHING_NEW"}))
        await socket.send(wrapped(payload("event_trade")))
        await socket.wait_closed()

    venue = SocketVenue(mumble)
    async with running(venue) as url:
        events = await take(make_stream(url), 4)
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected, OrderUpdated]
    assert len(venue.subscriptions) == 1


async def test_garbage_means_a_new_connection() -> None:
    async def garbage(socket: ServerConnection, request: dict[str, Any]) -> None:
        await accept(socket, request)
        await socket.send(b"\xff\xfe")
        await socket.wait_closed()

    async with running(SocketVenue(garbage, events_then_wait)) as url:
        events = await take(make_stream(url), 3)
    assert kinds(events) == [StreamConnected, StreamLost, StreamConnected]


async def test_a_refused_subscription_is_told_once_and_retried() -> None:
    async def refuse(socket: ServerConnection, request: dict[str, Any]) -> None:
        error = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
        await socket.send(json.dumps({"id": request["id"], "status": 401, "error": error}))
        await socket.wait_closed()

    venue = SocketVenue(refuse, refuse, refuse, events_then_wait)
    async with running(venue) as url:
        events = await take(make_stream(url), 2)
    assert kinds(events) == [StreamLost, StreamConnected]
    assert "-2015" in str(events[0])
    assert len(venue.subscriptions) == 4


async def test_a_limited_subscription_bans_every_request() -> None:
    clock = ExchangeClock()
    budget = RequestBudget(now_ms=clock.now_ms)

    async def limit(socket: ServerConnection, request: dict[str, Any]) -> None:
        error = {
            "code": -1003,
            "msg": "Way too much request weight used",
            "data": {"serverTime": clock.now_ms(), "retryAfter": clock.now_ms() + 30_000},
        }
        await socket.send(json.dumps({"id": request["id"], "status": 418, "error": error}))
        await socket.wait_closed()

    async with running(SocketVenue(limit)) as url:
        assert kinds(await take(make_stream(url, budget=budget), 1)) == [StreamLost]
    assert 25 < budget.wait_seconds(1, Use.PLACE) <= 30


async def test_a_refused_handshake_with_retry_after_bans_every_request() -> None:
    clock = ExchangeClock()
    budget = RequestBudget(now_ms=clock.now_ms)

    def refuse(_socket: ServerConnection, _request: Request) -> Response:
        return Response(HTTPStatus.TOO_MANY_REQUESTS, "no", Headers({"Retry-After": "20"}))

    async with running(SocketVenue(accept), process_request=refuse) as url:
        assert kinds(await take(make_stream(url, budget=budget), 1)) == [StreamLost]
    assert 15 < budget.wait_seconds(1, Use.PLACE) <= 20


async def test_nobody_there_is_told_once() -> None:
    stream = make_stream("ws://127.0.0.1:1/ws-api/v3")

    async def consume() -> list[StreamEvent]:
        return [event async for event in stream.events()]

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.5)
    await stream.close()
    async with asyncio.timeout(1):
        assert kinds(await task) == [StreamLost]


async def test_closing_the_client_ends_its_streams() -> None:
    venue = SocketVenue(events_then_wait)
    async with running(venue) as url:
        client = make_client("http://127.0.0.1:1", ws_url=url)
        seen: list[StreamEvent] = []
        ready = asyncio.Event()

        async def consume() -> None:
            async for event in client.stream():
                seen.append(event)
                ready.set()

        task = asyncio.create_task(consume())
        async with asyncio.timeout(2):
            await ready.wait()
            await client.close()
            await task
    assert isinstance(seen[0], StreamConnected)
    assert StreamLost not in kinds(seen)


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="aristobot")
    venue = SocketVenue(drop, events_then_wait)
    async with running(venue) as url:
        await take(make_stream(url), 3)
    assert "private stream lost" in caplog.text
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    signatures = [request["params"]["signature"] for request in venue.subscriptions]
    for secret in (API_KEY, API_SECRET, *signatures):
        assert secret not in logged
