"""Binance spot behind the port: which endpoint answers which question, and nothing more.

Signing and sending are `http`'s, shapes are `parsing`'s and `rules`', the meaning of refusals is
`errors`'. Placing and cancelling raise `ExchangeRefused` or `UnknownOutcome`; everything else
raises `Retryable` or `Misconfigured`. An order is sent exactly once, with the timestamp it was
given. Only a read whose timestamp was refused is repeated, once, after measuring the clock again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import Retryable
from aristobot.core.symbols import SymbolRules
from aristobot.exchanges.binance import errors, klines, parsing, rules
from aristobot.exchanges.binance.clock import ExchangeClock
from aristobot.exchanges.binance.http import Endpoint, Reply, RestSession
from aristobot.exchanges.binance.limits import RequestBudget, Use
from aristobot.exchanges.binance.order_params import ORDER_WINDOW_MS, list_params, order_params
from aristobot.exchanges.binance.signing import checked_key, signer_for
from aristobot.exchanges.binance.stream import StreamTimes, UserStream
from aristobot.exchanges.binance.urls import VenueUrls
from aristobot.exchanges.port import (
    Account,
    Answer,
    Fill,
    ListAnswer,
    OrderListRequest,
    OrderReport,
    OrderRequest,
    StreamEvent,
    UnknownOutcome,
)

T = TypeVar("T")

CLOSE_SECONDS = 3.0

_TIME = Endpoint("GET", "/api/v3/time", 1, is_signed=False, is_keyed=False)
_EXCHANGE_INFO = Endpoint("GET", "/api/v3/exchangeInfo", 20, is_signed=False, is_keyed=False)
_PRICE = Endpoint("GET", "/api/v3/ticker/price", 2, is_signed=False, is_keyed=False)
_KLINES = Endpoint("GET", "/api/v3/klines", 2, is_signed=False, is_keyed=False)
_ACCOUNT = Endpoint("GET", "/api/v3/account", 20)
_OPEN_ORDERS = Endpoint("GET", "/api/v3/openOrders", 80)
_QUERY = Endpoint("GET", "/api/v3/order", 4, Use.LOOK_UP)
_TRADES = Endpoint("GET", "/api/v3/myTrades", 5, Use.LOOK_UP)
_PLACE = Endpoint("POST", "/api/v3/order", 1, Use.PLACE)
_PLACE_LIST = Endpoint("POST", "/api/v3/orderList/oco", 1, Use.PLACE, orders=2)
_CANCEL = Endpoint("DELETE", "/api/v3/order", 1, Use.LOOK_UP)

_log = logging.getLogger(__name__)


class BinanceClient:
    """One Binance account; implements `ExchangeClient`."""

    def __init__(
        self,
        urls: VenueUrls,
        *,
        api_key: str,
        api_secret: str,
        stream_times: StreamTimes | None = None,
    ) -> None:
        self._urls = urls
        self._api_key = checked_key(api_key)
        self._signer = signer_for(api_secret)
        self._stream_times = stream_times
        self._clock = ExchangeClock()
        self._budget = RequestBudget(now_ms=self._clock.now_ms)
        self._rest = RestSession(
            urls.rest,
            api_key=self._api_key,
            signer=self._signer,
            clock=self._clock,
            budget=self._budget,
        )
        self._clock_task: asyncio.Task[None] | None = None
        self._streams: set[UserStream] = set()

    @property
    def order_window_ms(self) -> int:
        return ORDER_WINDOW_MS

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def measure_clock(self) -> None:
        await self._clock.measure(self._server_ms)

    async def connect(self) -> None:
        await self.measure_clock()
        if self._clock_task is None:
            self._clock_task = asyncio.create_task(
                self._clock.keep(self._server_ms), name="binance-clock"
            )

    async def close(self) -> None:
        if self._clock_task is not None:
            self._clock_task.cancel()
            # `wait` raises neither the task's cancellation nor its error: report the latter.
            done, _ = await asyncio.wait({self._clock_task}, timeout=CLOSE_SECONDS)
            for task in done:
                if not task.cancelled() and task.exception() is not None:
                    _log.error("exchange clock task failed", exc_info=task.exception())
            self._clock_task = None
        async with asyncio.timeout(CLOSE_SECONDS):
            await asyncio.gather(*(stream.close() for stream in tuple(self._streams)))
        async with asyncio.timeout(CLOSE_SECONDS):
            await self._rest.close()

    async def symbols(self) -> Mapping[str, SymbolRules]:
        params = {"showPermissionSets": "false"}
        info = await self._read(_EXCHANGE_INFO, params, rules.exchange_info)
        self._budget.learn(info.limits)
        if info.unreadable:
            _log.warning("symbols not understood", extra={"symbols": info.unreadable[:20]})
        return info.symbols

    async def account(self) -> Account:
        asked_at = parsing.moment(self._clock.now_ms())
        params = {"omitZeroBalances": "true"}
        return Account(await self._read(_ACCOUNT, params, parsing.balances), at=asked_at)

    async def price(self, symbol: str) -> Decimal:
        return await self._read(_PRICE, {"symbol": symbol}, parsing.price)

    async def candles(
        self,
        symbol: str,
        timeframe: Timeframe,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 500,
    ) -> tuple[Candle, ...]:
        async def page(params: Mapping[str, str], native: Timeframe) -> tuple[Candle, ...]:
            return await self._read(
                _KLINES, params, lambda body: klines.candles(body, symbol, native)
            )

        return await klines.fetch(page, symbol, timeframe, start=start, end=end, limit=limit)

    async def place(self, request: OrderRequest, *, timestamp_ms: int) -> Answer:
        params = order_params(request)
        try:
            reply = await self._rest.call(_PLACE, params, timestamp_ms=timestamp_ms)
        except Retryable as held:
            raise _held_back(held) from held
        report = self._parsed_action(reply, parsing.placed_order)
        if report.client_order_id != request.client_order_id:
            text = "Binance answered with another order: the outcome is unknown."
            raise UnknownOutcome(text, call=reply.call)
        return Answer(report, reply.call)

    async def place_list(self, request: OrderListRequest, *, timestamp_ms: int) -> ListAnswer:
        params = list_params(request)
        try:
            reply = await self._rest.call(_PLACE_LIST, params, timestamp_ms=timestamp_ms)
        except Retryable as held:
            raise _held_back(held) from held
        reports = self._parsed_action(reply, parsing.placed_list)
        legs = {report.client_order_id: report for report in reports}
        asked = (request.stop.client_order_id, request.target.client_order_id)
        if len(reports) != len(asked) or legs.keys() != set(asked):
            text = "Binance answered with other orders: the outcome is unknown."
            raise UnknownOutcome(text, call=reply.call)
        return ListAnswer(tuple(legs[client_id] for client_id in asked), reply.call)

    async def order(self, symbol: str, client_order_id: str) -> Answer:
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        reply = await self._reply_to_read(_QUERY, params)
        if reply.code == errors.NO_SUCH_ORDER:
            return Answer(None, reply.call)
        return Answer(_parsed_read(reply, parsing.queried_order), reply.call)

    async def fills(self, symbol: str, exchange_order_id: str) -> tuple[Fill, ...]:
        params = {"symbol": symbol, "orderId": exchange_order_id}
        return await self._read(_TRADES, params, parsing.trades)

    async def cancel(self, symbol: str, client_order_id: str) -> Answer:
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        try:
            reply = await self._rest.call(_CANCEL, params)
        except Retryable as held:
            raise _held_back(held) from held
        if not reply.is_ok and errors.is_nothing_to_cancel(reply.code, reply.message):
            return Answer(None, reply.call)
        report = self._parsed_action(reply, lambda body: parsing.cancelled(body, client_order_id))
        return Answer(report, reply.call)

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return await self._read(_OPEN_ORDERS, {}, parsing.open_orders)

    async def stream(self) -> AsyncGenerator[StreamEvent, None]:
        stream = UserStream(
            self._urls.websocket,
            api_key=self._api_key,
            signer=self._signer,
            clock=self._clock,
            budget=self._budget,
            times=self._stream_times,
        )
        self._streams.add(stream)
        try:
            async with aclosing(stream.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._streams.discard(stream)

    async def _server_ms(self) -> int:
        return await self._read(_TIME, {}, parsing.server_time_ms)

    async def _read(
        self, endpoint: Endpoint, params: Mapping[str, str], parse: Callable[[Any], T]
    ) -> T:
        return _parsed_read(await self._reply_to_read(endpoint, params), parse)

    async def _reply_to_read(self, endpoint: Endpoint, params: Mapping[str, str]) -> Reply:
        reply = await self._rest.call(endpoint, params)
        if reply.code == errors.BAD_TIMESTAMP:
            await self.measure_clock()
            reply = await self._rest.call(endpoint, params)
        return reply

    def _parsed_action(self, reply: Reply, parse: Callable[[Any], T]) -> T:
        if reply.code == errors.BAD_TIMESTAMP:
            self._clock.doubt()
        if reply.status is None:
            text = f"No answer from Binance ({reply.call.failure}): the outcome is unknown."
            raise UnknownOutcome(text, call=reply.call)
        if not reply.is_ok:
            raise errors.acting_error(
                reply.status,
                reply.code,
                reply.message,
                retry_after=reply.retry_after,
                call=reply.call,
            )
        try:
            return parse(parsing.loads(reply.text))
        except parsing.Unreadable as error:
            text = f"Binance answered but was not understood ({error}): the outcome is unknown."
            raise UnknownOutcome(text, call=reply.call) from error


def _held_back(held: Retryable) -> UnknownOutcome:
    """The budget forbade sending: nothing of it is under way."""
    return UnknownOutcome(str(held), retry_after_seconds=held.after_seconds, was_turned_away=True)


def _parsed_read(reply: Reply, parse: Callable[[Any], T]) -> T:
    if reply.status is None:
        raise Retryable(f"No answer from Binance ({reply.call.failure}).")
    if not reply.is_ok:
        raise errors.read_error(
            reply.status, reply.code, reply.message, retry_after=reply.retry_after
        )
    try:
        return parse(parsing.loads(reply.text))
    except parsing.Unreadable as error:
        raise Retryable(f"Binance's answer was not understood: {error}.") from error
