"""Binance's WebSocket API, as far as the user data stream needs it (exchange reference 3.2, 3.3).

Orders are not placed here. `listenKey` methods are gone since 2026-02-20 and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from aristobot.simulator.binance.errors import (
    BinanceError,
    bad_key_format,
    missing,
    unknown_key,
)
from aristobot.simulator.binance.exchange_info import rate_limits
from aristobot.simulator.binance.limits import Limits
from aristobot.simulator.binance.signing import TimeWindow, check_signature, websocket_payload
from aristobot.simulator.binance.streams import Connection, StreamHub
from aristobot.simulator.matching import Exchange

_REMOVED = ("userDataStream.start", "userDataStream.ping", "userDataStream.stop")
_KEY_TYPE = ("session.logon", "userDataStream.subscribe")
_SEND_TIMEOUT_SECONDS = 10
_GOING_AWAY = 1001

Params = Mapping[str, Any]


class WebSocketApi:
    """Serves `/ws-api/v3`."""

    def __init__(self, exchange: Exchange, limits: Limits, hub: StreamHub) -> None:
        self._exchange = exchange
        self._limits = limits
        self._hub = hub
        self._methods: dict[str, tuple[int, Callable[[Connection, Params], Any]]] = {
            "ping": (1, lambda connection, params: {}),
            "time": (1, self._time),
            "userDataStream.subscribe.signature": (2, self._subscribe),
            "userDataStream.unsubscribe": (2, self._unsubscribe),
            "session.subscriptions": (2, self._subscriptions),
        }

    async def serve(self, websocket: WebSocket) -> None:
        """One connection, until either side closes it."""
        address = websocket.client.host if websocket.client else "unknown"
        try:
            self._limits.take_weight(address, 2, self._exchange.clock.now_ms())
        except BinanceError:
            await websocket.close(1008)
            return
        await websocket.accept()
        connection = Connection()
        self._hub.add(connection)
        writer = asyncio.create_task(write_queue(websocket, connection), name="user-stream-writer")
        try:
            while True:
                # Clients may be silent for hours; the server's ping finds the dead ones.
                message = await websocket.receive_text()
                connection.send(self._reply(address, connection, message))
        except WebSocketDisconnect:
            return
        finally:
            self._hub.remove(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it was cancelled just above
                await writer

    def _reply(self, address: str, connection: Connection, message: str) -> dict[str, Any]:
        request_id: Any = None
        now = self._exchange.clock.now_ms()
        reply: dict[str, Any]
        try:
            request = _parse(message)
            request_id = request.get("id")
            result = self._call(address, connection, request, now)
            reply = {"id": request_id, "status": 200, "result": result}
        except BinanceError as error:
            body: dict[str, Any] = {"code": error.code, "msg": error.message}
            if error.retry_after_seconds is not None:
                retry_after = now + error.retry_after_seconds * 1000
                body["data"] = {"serverTime": now, "retryAfter": retry_after}
            reply = {"id": request_id, "status": error.status, "error": body}
        count = self._limits.used_weight(address, now)
        reply["rateLimits"] = [{**rate_limits(self._limits.values)[0], "count": count}]
        return reply

    def _call(
        self, address: str, connection: Connection, request: dict[str, Any], now_ms: int
    ) -> Any:
        method = request.get("method")
        if method in _REMOVED:
            raise BinanceError(
                -1020,
                f"{method} was removed on 2026-02-20; use userDataStream.subscribe.signature.",
                status=410,
            )
        if method in _KEY_TYPE:
            raise BinanceError(
                -1020, f"{method} needs an Ed25519 key; use userDataStream.subscribe.signature."
            )
        if not isinstance(method, str) or method not in self._methods:
            raise BinanceError(-1020, "This operation is not supported.")
        params = request.get("params") or {}
        if not isinstance(params, dict):
            raise BinanceError(-1130, "Data sent for parameter 'params' is not valid.")
        weight, answer = self._methods[method]
        self._limits.take_weight(address, weight, now_ms)
        return answer(connection, params)

    def _time(self, connection: Connection, params: Params) -> dict[str, Any]:
        return {"serverTime": self._exchange.clock.now_ms()}

    def _subscribe(self, connection: Connection, params: Params) -> dict[str, Any]:
        api_key, signature = params.get("apiKey"), params.get("signature")
        if not isinstance(api_key, str) or not api_key:
            raise bad_key_format()
        if not isinstance(signature, str):
            raise missing("signature")
        stamp, window = params.get("timestamp"), params.get("recvWindow")
        account = self._exchange.account(api_key)
        if account is None:
            raise unknown_key()
        TimeWindow(
            None if stamp is None else str(stamp), None if window is None else str(window)
        ).check(self._exchange.clock.now_ms())
        check_signature(account.secret, websocket_payload(params), signature.encode())
        if account in connection.subscriptions.values():
            raise BinanceError(-2035, "User Data Stream subscription is already active.")
        return {"subscriptionId": connection.subscribe(account)}

    def _unsubscribe(self, connection: Connection, params: Params) -> dict[str, Any]:
        number = params.get("subscriptionId")
        if number is None:
            connection.subscriptions.clear()
        elif not isinstance(number, int) or number not in connection.subscriptions:
            raise BinanceError(-2036, "User Data Stream subscription is not active.")
        else:
            del connection.subscriptions[number]
        return {}

    def _subscriptions(self, connection: Connection, params: Params) -> list[dict[str, Any]]:
        return [{"subscriptionId": number} for number in connection.subscriptions]


def _parse(message: str) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise BinanceError(-1130, "The request is not a JSON object.")
    return request


async def write_queue(websocket: WebSocket, connection: Connection) -> None:
    """Send what is queued; None closes the socket. A client that is gone ends it quietly."""
    while (message := await connection.outgoing.get()) is not None:
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_SECONDS):
                await websocket.send_text(message)
        except (WebSocketDisconnect, TimeoutError, OSError):
            connection.is_closing = True
            break
    if websocket.application_state is WebSocketState.CONNECTED:
        # Starlette raises RuntimeError (or reports a disconnect) when the client was faster.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(_SEND_TIMEOUT_SECONDS):
                await websocket.close(_GOING_AWAY)
