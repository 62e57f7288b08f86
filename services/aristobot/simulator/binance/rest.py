"""Binance's REST dialect as one ASGI application: limits, signature, faults, endpoint, answer.

A plain ASGI callable with a dictionary for its routes: an order costs the machine as little as
possible, since the simulator shares it with the product under test. A request is accepted or not
between two awaits; everything after that (a lost or late answer) changes only what the client sees.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from aristobot.simulator.accounts import Account
from aristobot.simulator.binance import order_lists, public, trading
from aristobot.simulator.binance.calls import Access, Call, Endpoint
from aristobot.simulator.binance.errors import (
    BinanceError,
    bad_key_format,
    missing,
    unknown_key,
)
from aristobot.simulator.binance.limits import Limits
from aristobot.simulator.binance.params import parse
from aristobot.simulator.binance.signing import TimeWindow, check_signature, split_payload
from aristobot.simulator.faults import FaultKind, Faults
from aristobot.simulator.matching import Exchange

ABORT_EXTENSION = "aristobot.abort"
"""Key in the ASGI scope's extensions: a function that cuts the TCP connection."""

_log = logging.getLogger(__name__)
_ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    **public.ENDPOINTS,
    **trading.ENDPOINTS,
    **order_lists.ENDPOINTS,
}
_PLACING = {("POST", "/api/v3/order"), ("POST", "/api/v3/orderList/oco")}
_REMOVED = "/api/v3/userDataStream"
_LARGEST_BODY = 64 * 1024
_BODY_TIMEOUT_SECONDS = 10
_JSON = (b"content-type", b"application/json;charset=UTF-8")
_HTML = (b"content-type", b"text/html")

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    address: str
    api_key: str | None
    query: bytes
    body: bytes


@dataclass(slots=True)
class _Answer:
    """What goes back; `held_seconds` late, or not at all when `is_lost`."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)
    held_seconds: float = 0
    is_lost: bool = False


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class BinanceRest:
    """The ASGI application for `/api`."""

    def __init__(self, exchange: Exchange, limits: Limits, faults: Faults) -> None:
        self._exchange = exchange
        self._limits = limits
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        client = scope.get("client")
        request = _Request(
            method=scope["method"],
            path=scope["path"],
            address=client[0] if client else "unknown",
            api_key=_api_key(scope["headers"]),
            query=scope["query_string"],
            body=body,
        )
        answer = await self._answer(request)
        if answer.held_seconds:
            await asyncio.sleep(answer.held_seconds)
        if answer.is_lost:
            await _cut(scope, receive)
            return
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    *answer.headers,
                    (b"content-length", str(len(answer.body)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: _Request) -> _Answer:
        if request.path.startswith(_REMOVED):
            return _Answer(410, b"<html><body><h1>410 Gone</h1></body></html>", [_HTML])
        endpoint = _ENDPOINTS.get((request.method, request.path))
        try:
            if len(request.body) > _LARGEST_BODY:
                raise BinanceError(-1130, "The request body is too large.", status=413)
            if endpoint is None:
                raise BinanceError(
                    -5000,
                    f"Path {request.path}, Method {request.method} is invalid",
                    status=404,
                )
            answer = await self._run(request, endpoint)
        except BinanceError as error:
            if endpoint is not None and endpoint.is_free_on_success:
                # Order calls are free unless they fail (reference 2.3).
                self._limits.add_weight(request.address, 1, self._exchange.clock.now_ms())
            answer = _error_answer(error)
        except OSError:
            # The journal could not be written, so nothing was accepted; the client can't know that.
            _log.exception("The simulator could not keep an order in its journal.")
            answer = _error_answer(BinanceError(-1000, "An unknown error occurred.", status=500))
        self._add_usage(request, answer)
        return answer

    async def _run(self, request: _Request, endpoint: Endpoint) -> _Answer:
        clock = self._exchange.clock
        params = parse(request.query, request.body)
        weight = 0 if endpoint.is_free_on_success else endpoint.weight_of(params)
        self._limits.take_weight(request.address, weight, clock.now_ms())
        self._refuse_by_fault(request)
        account: Account | None = None
        window: TimeWindow | None = None
        if endpoint.access is Access.SIGNED:
            account, window = self._authenticate(request, params)
        delay = self._take(FaultKind.DELAY, request)
        if delay is not None:
            await asyncio.sleep(delay)
            if window is not None:
                # Binance looks at the window again just before the matching engine.
                window.check(clock.now_ms())
        return self._accept(request, endpoint, params, account)

    def _authenticate(
        self, request: _Request, params: dict[str, str]
    ) -> tuple[Account, TimeWindow]:
        if not request.api_key:
            raise bad_key_format()
        window = TimeWindow(params.get("timestamp"), params.get("recvWindow"))
        if not params.get("signature"):
            raise missing("signature")
        account = self._exchange.account(request.api_key)
        if account is None:
            raise unknown_key()
        window.check(self._exchange.clock.now_ms())
        payload, signature = split_payload(request.query, request.body)
        check_signature(account.secret, payload, signature)
        return account, window

    def _accept(
        self,
        request: _Request,
        endpoint: Endpoint,
        params: dict[str, str],
        account: Account | None,
    ) -> _Answer:
        """Run the endpoint, then whatever fault hits an accepted request. No await in here."""
        find = self._faults.find
        key = (request.method, request.path, request.api_key)
        fills = find(FaultKind.PARTIAL_FILL, *key) or find(FaultKind.LATE_FILL, *key)
        call = Call(
            exchange=self._exchange,
            limits=self._limits,
            params=params,
            now_ms=self._exchange.clock.now_ms(),
            signed_by=account,
            plan=fills.fill_plan() if fills else None,
        )
        answer = _Answer(200, _json(endpoint.answer(call)), [_JSON])
        if fills is not None:
            self._faults.consume(fills)
        lost = find(FaultKind.ANSWER_LOST, *key)
        if lost is not None:
            self._faults.consume(lost)
            answer.is_lost = True
        slow = self._take(FaultKind.SLOW_ANSWER, request)
        if slow is not None:
            answer.held_seconds = slow
        failed = find(FaultKind.ERROR_5XX, *key)
        if failed is not None and failed.accepted:
            self._faults.consume(failed)
            error = _server_error(failed.status)
            answer.status, answer.body = failed.status, _error_answer(error).body
        return answer

    def _refuse_by_fault(self, request: _Request) -> None:
        """Faults that answer in the exchange's stead: nothing is accepted."""
        key = (request.method, request.path, request.api_key)
        fault = self._faults.find(FaultKind.BAN, *key)
        if fault is not None:
            self._faults.consume(fault)
            seconds = max(1, round(fault.seconds))
            until = self._exchange.clock.now_ms() + seconds * 1000
            raise BinanceError(
                -1003,
                f"Way too much request weight used; IP banned until {until}.",
                status=418,
                retry_after_seconds=seconds,
            )
        fault = self._faults.find(FaultKind.RATE_LIMIT, *key)
        if fault is not None:
            self._faults.consume(fault)
            raise BinanceError(
                -1003,
                "Too many requests queued.",
                status=429,
                retry_after_seconds=max(1, round(fault.seconds)),
            )
        fault = self._faults.find(FaultKind.ERROR_5XX, *key)
        if fault is not None and not fault.accepted:
            self._faults.consume(fault)
            raise _server_error(fault.status)

    def _take(self, kind: FaultKind, request: _Request) -> float | None:
        fault = self._faults.find(kind, request.method, request.path, request.api_key)
        if fault is None:
            return None
        self._faults.consume(fault)
        return fault.seconds

    def _add_usage(self, request: _Request, answer: _Answer) -> None:
        now = self._exchange.clock.now_ms()
        used = str(self._limits.used_weight(request.address, now)).encode()
        answer.headers += [(b"x-mbx-used-weight", used), (b"x-mbx-used-weight-1m", used)]
        if (request.method, request.path) in _PLACING and request.api_key:
            ten, day = self._limits.order_counts(request.api_key, now)
            answer.headers += [
                (b"x-mbx-order-count-10s", str(ten).encode()),
                (b"x-mbx-order-count-1d", str(day).encode()),
            ]


def _server_error(status: int) -> BinanceError:
    if status == 503:
        return BinanceError(
            -1007,
            "Timeout waiting for response from backend server. "
            "Send status unknown; execution status unknown.",
            status=503,
        )
    return BinanceError(
        -1000, "An unknown error occurred while processing the request.", status=status
    )


def _error_answer(error: BinanceError) -> _Answer:
    headers: Headers = [_JSON]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    return _Answer(error.status, _json({"code": error.code, "msg": error.message}), headers)


def _api_key(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"x-mbx-apikey":
            return value.decode("latin-1")
    return None


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body (a little more than the limit at most), None if the client went away."""
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(_BODY_TIMEOUT_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            if not message.get("more_body") or size > _LARGEST_BODY:
                return b"".join(chunks)


async def _cut(scope: Scope, receive: Receive) -> None:
    """Close the TCP connection without an answer."""
    abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
    if abort is None:
        raise ConnectionResetError("The answer is lost on purpose.")
    abort()
    # The server has to notice the closed connection before this request may return unanswered.
    async with asyncio.timeout(_BODY_TIMEOUT_SECONDS):
        while (await receive())["type"] != "http.disconnect":
            continue
