"""Binance's public trades (`<symbol>@trade`) over combined streams, reconnecting for ever.

Protocol: exchange reference 3.1. One connection to `/stream` carries all symbols; what it follows
is said by SUBSCRIBE and UNSUBSCRIBE, at most two messages a second of the five that are allowed
(pongs count too). Server pings are answered by the library; our own notice a socket that has gone
silent. Before the 24 h end, and at once on `serverShutdown`, the next connection is opened and
subscribed while the old one still delivers, so nothing is missed; what both deliver carries the
same trade ids. Deliberately not here: what a trade means for a candle, and missed trades.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from aristobot.core.candle_builder import Trade
from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.limits import DEFAULT_BAN_SECONDS, retry_after_seconds
from aristobot.exchanges.binance.parsing import Unreadable, reads
from aristobot.exchanges.binance.urls import is_loopback
from aristobot.exchanges.port import MarketConnected, MarketEvent, MarketLost, SymbolUnknown

MAX_STREAMS = 1024
#: Names in one SUBSCRIBE: a message of a few kilobytes.
_NAMES_PER_MESSAGE = 200
_SHUTDOWN = "serverShutdown"

_log = logging.getLogger(__name__)
_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class MarketTimes:
    """All in seconds. `overlap`: how long the old connection goes on beside the new one."""

    open_within: float = 10.0
    reply_within: float = 10.0
    ping_every: float = 15.0
    pong_within: float = 10.0
    renew_after: float = 23 * 3600.0
    overlap: float = 5.0
    close_within: float = 1.0
    message_every: float = 0.5
    stable_after: float = 30.0
    first_pause: float = 0.25
    longest_pause: float = 30.0


class _Refused(Exception):
    """The exchange answered a subscription with an error."""


@reads
def parse_trade(data: dict[str, Any]) -> Trade:
    """A `trade` event's payload; raises `Unreadable`."""
    if data["e"] != "trade":
        raise Unreadable(f"not a trade but {data['e']!r}")
    price, quantity = Decimal(data["p"]), Decimal(data["q"])
    if not (price > 0 and quantity > 0 and price.is_finite() and quantity.is_finite()):
        raise Unreadable(f"a trade of {quantity} at {price}")
    return Trade(data["s"], int(data["t"]), price, quantity, int(data["T"]), int(data["E"]))


class _Connection:
    """One socket, its subscriptions, and the task that reads it."""

    def __init__(self, socket: ClientConnection, owner: BinanceMarketStream) -> None:
        self._socket = socket
        self._owner = owner
        self._times = owner.times
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._may_send_at = 0.0
        #: What was asked for; those that the exchange refused are in it too.
        self.asked: set[str] = set()
        self.live: set[str] = set()
        #: What it delivered before it became the current one.
        self.early: list[MarketEvent] = []
        #: Set when another connection has to take over: shutdown announced.
        self.is_leaving = asyncio.Event()
        self.reading = asyncio.create_task(self._read(), name="binance-market-reader")

    async def _read(self) -> str:
        """Hand on what comes; returns why it ended."""
        try:
            while True:
                message = json.loads(await self._socket.recv())
                data = message.get("data")
                if data is None:
                    self._reply(message)
                elif data.get("e") == "trade":
                    # Before the subscription is confirmed nobody knows since when all have come.
                    if data.get("s") in self.live:
                        self._owner.put(self, parse_trade(data))
                elif data.get("e") == _SHUTDOWN:
                    self.is_leaving.set()
        except ConnectionClosed as error:
            return f"closed ({error})"
        except (OSError, WebSocketException) as error:
            return f"{type(error).__name__}: {error}"
        except (ValueError, AttributeError) as error:  # Unreadable is one of the first
            return f"unreadable message ({error})"
        finally:
            for reply in self._replies.values():
                reply.cancel()

    def _reply(self, message: dict[str, Any]) -> None:
        if message.get("e") == _SHUTDOWN:
            self.is_leaving.set()
            return
        waiting = self._replies.pop(message.get("id", 0), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def change_to(self, wanted: frozenset[str]) -> None:
        """Subscribe and unsubscribe until it follows `wanted`. Raises when the connection fails."""
        gone = self.asked - wanted
        if gone:
            self.live -= gone
            self.asked -= gone
            await self._ask("UNSUBSCRIBE", sorted(gone))
        new = sorted(wanted - self.asked)
        for first in range(0, len(new), _NAMES_PER_MESSAGE):
            await self._subscribe(new[first : first + _NAMES_PER_MESSAGE])

    async def _subscribe(self, symbols: list[str]) -> None:
        self.asked.update(symbols)
        try:
            await self._ask("SUBSCRIBE", symbols)
        except _Refused as error:
            if len(symbols) == 1:
                self._owner.put(self, SymbolUnknown(symbols[0], str(error)))
                return
            # One bad name must not cost the others: find it by halves.
            middle = len(symbols) // 2
            await self._subscribe(symbols[:middle])
            await self._subscribe(symbols[middle:])
            return
        self.live.update(symbols)
        self._owner.subscribed(self, frozenset(symbols))

    async def _ask(self, method: str, symbols: list[str]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._may_send_at - loop.time()))
        self._may_send_at = loop.time() + self._times.message_every
        self._last_id += 1
        names = [f"{symbol.lower()}@trade" for symbol in symbols]
        reply: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._replies[self._last_id] = reply
        request = {"method": method, "params": names, "id": self._last_id}
        async with asyncio.timeout(self._times.reply_within):
            await self._socket.send(json.dumps(request))
            await asyncio.wait({reply, self.reading}, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done() or reply.cancelled():
            raise OSError("the connection ended while it was subscribing")
        error = reply.result().get("error")
        if error is not None:
            raise _Refused(f"{error.get('code')} {error.get('msg')}")

    async def close(self) -> None:
        with suppress(OSError, TimeoutError, WebSocketException):  # it may be broken already
            async with asyncio.timeout(self._times.close_within * 2):
                await self._socket.close()
        self.reading.cancel()
        await asyncio.wait({self.reading}, timeout=self._times.close_within)


class BinanceMarketStream:
    """Implements `MarketStream`. `url`: the origin in front of `/stream`."""

    def __init__(
        self,
        url: str,
        *,
        times: MarketTimes | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._url = f"{url}/stream"
        self.times = times or MarketTimes()
        self._jitter = jitter
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._queue: asyncio.Queue[MarketEvent | None] = asyncio.Queue()
        self._current: _Connection | None = None
        self._connections: set[_Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def follow(self, symbols: Iterable[str]) -> None:
        wanted = frozenset(symbols)
        if len(wanted) > MAX_STREAMS:
            raise Misconfigured(
                f"{len(wanted)} symbols are too many: Binance carries {MAX_STREAMS} on a connection"
            )
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def events(self) -> AsyncGenerator[MarketEvent, None]:
        """Until `close`. May be used once."""
        task = asyncio.create_task(self._keep(), name="binance-market-stream")
        task.add_done_callback(lambda _: self._queue.put_nowait(None))
        self._task = task
        try:
            while (event := await self._queue.get()) is not None:
                yield event
            if not task.cancelled():
                task.result()  # it never returns, so this raises what ended it
        finally:
            await self.close()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=self.times.close_within * 4)
        for connection in tuple(self._connections):
            await self._drop(connection)

    def put(self, connection: _Connection, event: MarketEvent) -> None:
        """A connection hands on an event. A successor's wait: two at once would mix the order."""
        if connection is self._current:
            self._queue.put_nowait(event)
        elif connection in self._connections:
            connection.early.append(event)

    def subscribed(self, connection: _Connection, symbols: frozenset[str]) -> None:
        """A connection follows these from now on. A successor only goes on where all is seen."""
        if connection is self._current:
            self.put(connection, MarketConnected(symbols))

    async def _keep(self) -> None:
        """Connect, follow what is wanted, renew, and begin again, until cancelled."""
        failures = 0
        told: str | None = None
        loop = asyncio.get_running_loop()
        while True:
            connected_at: float | None = None
            pause: float | None = None
            try:
                connection = self._current = await self._open()
                connected_at = loop.time()
                await self._subscribe(connection)
                told = None
                reason = await self._attend(connection)
            except InvalidStatus as error:
                reason, pause = _refused(error)
            except (OSError, TimeoutError, WebSocketException, _Refused) as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            self._current = None
            for connection in tuple(self._connections):
                await self._drop(connection)
            lived = 0.0 if connected_at is None else loop.time() - connected_at
            failures = 1 if lived >= self.times.stable_after else failures + 1
            if reason != told:
                told = reason
                _log.warning("market stream lost", extra={"reason": reason})
                self._queue.put_nowait(MarketLost(reason))
            await asyncio.sleep(self._backoff(failures) if pause is None else pause)

    async def _attend(self, connection: _Connection) -> str:
        """Follow changes and renew in time, until the connection ends; returns why it did."""
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + self.times.renew_after
        while True:
            await _first_of(
                connection.reading,
                self._changed,
                connection.is_leaving,
                timeout_seconds=max(0.0, renew_at - loop.time()),
            )
            if connection.reading.done():
                return connection.reading.result()
            if self._changed.is_set():
                await self._subscribe(connection)
            if connection.is_leaving.is_set() or loop.time() >= renew_at:
                successor = await self._succeed(connection)
                if successor is None:
                    # The old one still delivers: try again soon, until it ends.
                    await _first_of(connection.reading, timeout_seconds=self.times.first_pause * 8)
                    continue
                connection = successor
                renew_at = loop.time() + self.times.renew_after

    async def _succeed(self, old: _Connection) -> _Connection | None:
        """Open and subscribe the next connection while the old one delivers; None: not now."""
        try:
            new = await self._open()
        except (OSError, TimeoutError, WebSocketException) as error:
            _log.warning("market stream can't be renewed yet", extra={"reason": str(error)})
            return None
        try:
            await new.change_to(self._wanted)
        except (OSError, TimeoutError, WebSocketException, _Refused) as error:
            _log.warning("market stream can't be renewed yet", extra={"reason": str(error)})
            await self._drop(new)
            return None
        # What was on its way when the new one began still comes over the old one.
        await _first_of(old.reading, new.reading, timeout_seconds=self.times.overlap)
        self._current = new
        if missed := new.live - old.live:
            self._queue.put_nowait(MarketConnected(frozenset(missed)))
        for event in new.early:
            self._queue.put_nowait(event)
        new.early.clear()
        await self._drop(old)
        _log.info("market stream renewed")
        return new

    async def _subscribe(self, connection: _Connection) -> None:
        self._changed.clear()
        await connection.change_to(self._wanted)

    async def _open(self) -> _Connection:
        times = self.times
        socket = await connect(
            self._url,
            open_timeout=times.open_within,
            ping_interval=times.ping_every,
            ping_timeout=times.pong_within,
            close_timeout=times.close_within,
            compression=None,
            max_queue=4096,
            proxy=None if is_loopback(self._url) else True,
            user_agent_header="aristobot",
            logger=_wire_log,
        )
        connection = _Connection(socket, self)
        self._connections.add(connection)
        return connection

    async def _drop(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        await connection.close()

    def _backoff(self, failures: int) -> float:
        times = self.times
        longest = min(times.longest_pause, times.first_pause * 2.0 ** min(failures - 1, 16))
        return longest * (0.5 + 0.5 * self._jitter())


def _refused(error: InvalidStatus) -> tuple[str, float | None]:
    """The handshake was answered with an HTTP status; a limit says how long to stay away."""
    status = error.response.status_code
    pause = None
    if status in (418, 429):
        headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
        pause = retry_after_seconds(headers) or DEFAULT_BAN_SECONDS
    return f"connection refused with HTTP {status}", pause


async def _first_of(*awaited: asyncio.Task[str] | asyncio.Event, timeout_seconds: float) -> None:
    """Wait until a task is done, an event is set, or the time is over."""
    waiting = [
        asyncio.ensure_future(item.wait()) if isinstance(item, asyncio.Event) else item
        for item in awaited
    ]
    try:
        await asyncio.wait(waiting, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, item in zip(waiting, awaited, strict=True):
            if isinstance(item, asyncio.Event):
                task.cancel()
