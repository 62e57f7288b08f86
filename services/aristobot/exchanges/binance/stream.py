"""The private stream: order and balance events over the WebSocket API, reconnecting for ever.

Protocol: `userDataStream.subscribe.signature` on the WebSocket API connection (exchange reference
3.2, 3.3; listen keys are gone since 2026-02-20). Nothing is replayed after a reconnect, so each
one yields `StreamConnected` and the consumer reads the gap over REST. Server pings are answered by
the library; our own pings notice a socket that has gone silent. The connection is renewed ahead of
the 24 h limit. Deliberately not here: what an event means for an order (the gateway).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from aristobot.exchanges.binance import parsing
from aristobot.exchanges.binance.clock import ExchangeClock
from aristobot.exchanges.binance.errors import BAD_TIMESTAMP
from aristobot.exchanges.binance.limits import (
    DEFAULT_BAN_SECONDS,
    RequestBudget,
    Use,
    retry_after_seconds,
)
from aristobot.exchanges.binance.signing import Signer, websocket_signature
from aristobot.exchanges.binance.urls import is_loopback
from aristobot.exchanges.port import StreamConnected, StreamEvent, StreamLost

CONNECT_WEIGHT = 2
SUBSCRIBE_WEIGHT = 2
_TERMINAL = ("eventStreamTerminated", "serverShutdown")

_log = logging.getLogger(__name__)
# At DEBUG the library writes every frame, the signed subscription included.
_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """All in seconds. A silent socket is noticed after `ping_every + pong_within`."""

    open_within: float = 10.0
    reply_within: float = 10.0
    ping_every: float = 15.0
    pong_within: float = 10.0
    renew_after: float = 23 * 3600.0
    close_within: float = 1.0
    stable_after: float = 30.0
    first_pause: float = 0.25
    longest_pause: float = 30.0


class _Ended(Exception):
    """This connection is over; `pause` overrides the backoff, None leaves it."""

    def __init__(self, reason: str, *, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = pause


class UserStream:
    """One subscription of one account. `close` ends `events` and its connection."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str,
        signer: Signer,
        clock: ExchangeClock,
        budget: RequestBudget,
        times: StreamTimes | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._signer = signer
        self._clock = clock
        self._budget = budget
        self._times = times or StreamTimes()
        self._jitter = jitter
        self._ids = itertools.count(1)
        self._closed = asyncio.Event()
        self._socket: ClientConnection | None = None

    async def close(self) -> None:
        """End `events` wherever it stands; returns when the connection is down."""
        self._closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield until closed. A reason for being down is told once, not at every attempt."""
        failures = 0
        told: str | None = None
        while not self._closed.is_set():
            connected_at: float | None = None
            try:
                await self._wait_for_budget()
                if self._closed.is_set():
                    return
                async with self._connection() as socket:
                    self._socket = socket
                    early = await self._subscribe(socket)
                    connected_at = time.monotonic()
                    told = None
                    yield StreamConnected()
                    async for event in self._received(socket, early):
                        yield event
            except _Ended as end:
                reason, pause = end.reason, end.pause
            except InvalidStatus as error:
                reason, pause = self._refused(error)
            except ConnectionClosed as error:
                reason, pause = f"closed ({error})", None
            except (OSError, TimeoutError, WebSocketException) as error:
                reason, pause = f"{type(error).__name__}: {error}".rstrip(": "), None
            if self._closed.is_set():
                return
            lived = 0.0 if connected_at is None else time.monotonic() - connected_at
            failures = 1 if lived >= self._times.stable_after else failures + 1
            if reason != told:
                told = reason
                _log.warning("private stream lost", extra={"reason": reason})
                yield StreamLost(reason)
            await self._sleep(self._backoff(failures) if pause is None else pause)

    def _connection(self) -> connect:
        times = self._times
        return connect(
            self._url,
            open_timeout=times.open_within,
            ping_interval=times.ping_every,
            ping_timeout=times.pong_within,
            close_timeout=times.close_within,
            compression=None,
            max_queue=1024,  # a slow consumer must not keep the pongs from being read
            proxy=None if is_loopback(self._url) else True,
            user_agent_header="aristobot",
            logger=_wire_log,
        )

    async def _subscribe(self, socket: ClientConnection) -> list[Any]:
        """Subscribe; returns the messages that overtook the reply."""
        params: dict[str, str | int] = {
            "apiKey": self._api_key,
            "timestamp": self._clock.now_ms(),
        }
        params["signature"] = websocket_signature(params, self._signer)
        request_id = next(self._ids)
        request = {
            "id": request_id,
            "method": "userDataStream.subscribe.signature",
            "params": params,
        }
        early: list[Any] = []
        async with asyncio.timeout(self._times.reply_within):
            await socket.send(json.dumps(request))
            while True:
                message = self._message(await socket.recv())
                if message is None:
                    continue
                if message.get("id") == request_id:
                    break
                early.append(message)
        self._check_reply(message)
        return early

    def _check_reply(self, reply: dict[str, Any]) -> None:
        for entry in reply.get("rateLimits") or ():
            if entry.get("rateLimitType") == "REQUEST_WEIGHT" and entry.get("interval") == "MINUTE":
                self._budget.note_used_weight(int(entry["count"]))
        status = reply.get("status")
        if status == 200:
            return
        error = reply.get("error") or {}
        code = error.get("code")
        if code == BAD_TIMESTAMP:
            self._clock.doubt()
        if status in (418, 429):
            until_ms = (error.get("data") or {}).get("retryAfter")  # a moment, not a duration
            wait = DEFAULT_BAN_SECONDS
            if isinstance(until_ms, int):
                wait = max(0.0, (until_ms - self._clock.now_ms()) / 1000)
            self._budget.ban(wait)
        raise _Ended(f"subscription refused ({code} {error.get('msg')})")

    async def _received(
        self, socket: ClientConnection, early: list[Any]
    ) -> AsyncIterator[StreamEvent]:
        """Events until the connection ends, which is always an exception."""
        renew_at = asyncio.get_running_loop().time() + self._times.renew_after
        for message in early:
            for event in self._events_of(message):
                yield event
        while True:
            try:
                async with asyncio.timeout_at(renew_at):
                    frame = await socket.recv()
            except TimeoutError:
                raise _Ended("renewing the connection before its 24 h end", pause=0.0) from None
            message = self._message(frame)
            if message is not None:
                for event in self._events_of(message):
                    yield event

    def _events_of(self, message: dict[str, Any]) -> tuple[StreamEvent, ...]:
        event = message.get("event", message)
        kind = event.get("e") if isinstance(event, dict) else None
        if kind in _TERMINAL:
            raise _Ended(f"the exchange sent {kind}", pause=0.0)
        if kind is None:
            return ()
        try:
            parsed = parsing.stream_event(event)
        except parsing.Unreadable as error:
            return self._unreadable(str(error))
        return () if parsed is None else (parsed,)

    def _message(self, frame: str | bytes) -> dict[str, Any] | None:
        try:
            message = parsing.loads(frame if isinstance(frame, str) else frame.decode("utf-8"))
        except ValueError as error:
            raise _Ended(f"unreadable message ({error})") from error
        return message if isinstance(message, dict) else None

    def _unreadable(self, reason: str) -> tuple[StreamEvent, ...]:
        """Something happened that only REST can tell now; the connection itself is fine."""
        _log.warning("private stream event not understood", extra={"reason": reason})
        return StreamLost(f"an event could not be read ({reason})"), StreamConnected()

    def _refused(self, error: InvalidStatus) -> tuple[str, float | None]:
        """The handshake was answered with an HTTP status instead of an upgrade."""
        status = error.response.status_code
        if status in (418, 429):
            headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
            self._budget.ban(retry_after_seconds(headers) or DEFAULT_BAN_SECONDS)
        return f"connection refused with HTTP {status}", None

    def _backoff(self, failures: int) -> float:
        times = self._times
        longest = min(times.longest_pause, times.first_pause * 2.0 ** min(failures - 1, 16))
        return longest * (0.5 + 0.5 * self._jitter())

    async def _wait_for_budget(self) -> None:
        while not self._closed.is_set():
            wait = self._budget.wait_seconds(CONNECT_WEIGHT + SUBSCRIBE_WEIGHT, Use.LOOK_UP)
            if wait <= 0:
                return
            await self._sleep(wait)

    async def _sleep(self, seconds: float) -> None:
        # Running into the timeout is the ordinary case; `close` ends the pause early.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
