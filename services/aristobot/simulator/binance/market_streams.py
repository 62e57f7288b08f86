"""Binance's market streams `/ws` and `/stream` (exchange reference 3.1).

Served: `@trade`, `@aggTrade`, `@kline_<interval>`, `@miniTicker`, `@bookTicker` of the listed
pairs. Each is pushed with every tick of the market; a candle that closed in between is sent once
more with `x` true before the next one begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from aristobot.simulator.binance.errors import BinanceError
from aristobot.simulator.binance.rendering import text
from aristobot.simulator.binance.streams import Connection
from aristobot.simulator.binance.websocket_api import write_queue
from aristobot.simulator.candles import DAY_MS, INTERVALS, Candle, close_ms, from_units
from aristobot.simulator.market import PairMarket, PublicTrade
from aristobot.simulator.matching import Exchange
from aristobot.simulator.pairs import PAIRS

_NAME = re.compile(r"([a-z0-9]+)@(trade|aggTrade|miniTicker|bookTicker|kline_([0-9]+[mhdwM]))")


def split_name(name: str) -> tuple[str, str, str | None]:
    """`btcusdt@kline_1m` -> (BTCUSDT, kline_1m, 1m); `BinanceError` for one that is not served."""
    match = _NAME.fullmatch(name)
    if match is None or match[1].upper() not in PAIRS:
        raise BinanceError(2, f"Invalid request: unknown stream {name!r}")
    if match[3] is not None and match[3] not in INTERVALS:
        raise BinanceError(2, f"Invalid request: unknown interval in {name!r}")
    return match[1].upper(), match[2], match[3]


class _Listener:
    """One connection and the streams it asked for."""

    def __init__(self, *, is_combined: bool) -> None:
        self.connection = Connection()
        self.is_combined = is_combined
        self.names: dict[str, tuple[str, str, str | None]] = {}

    def add(self, names: list[str]) -> None:
        self.names.update({name: split_name(name) for name in names})

    def push(self, name: str, payload: dict[str, Any]) -> None:
        self.connection.send({"stream": name, "data": payload} if self.is_combined else payload)


class MarketStreams:
    """All connections that listen to the market."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._listeners: set[_Listener] = set()
        self._open_candles: dict[tuple[str, str], int] = {}

    async def serve_raw(self, websocket: WebSocket) -> None:
        """`/ws/<stream>/<stream>` and `/ws`: payloads as they are."""
        names = websocket.path_params.get("streams", "")
        await self._serve(websocket, names, is_combined=False)

    async def serve_combined(self, websocket: WebSocket) -> None:
        """`/stream?streams=<stream>/<stream>`: payloads wrapped with the stream's name."""
        names = websocket.query_params.get("streams", "")
        await self._serve(websocket, names, is_combined=True)

    async def _serve(self, websocket: WebSocket, names: str, *, is_combined: bool) -> None:
        listener = _Listener(is_combined=is_combined)
        # ccxt connects to /ws/0: a number is a client's label for the connection, not a stream.
        asked = [name for name in names.split("/") if name and not name.isdigit()]
        try:
            listener.add(asked)
        except BinanceError:
            await websocket.close(1008)
            return
        await websocket.accept()
        self._listeners.add(listener)
        writer = asyncio.create_task(
            write_queue(websocket, listener.connection), name="market-stream-writer"
        )
        try:
            while True:
                # Clients may be silent for hours; the server's ping finds the dead ones.
                listener.connection.send(_control(listener, await websocket.receive_text()))
        except WebSocketDisconnect:
            return
        finally:
            self._listeners.discard(listener)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it was cancelled just above
                await writer

    def take(self, trade: PublicTrade) -> None:
        """The engine's listener: one public trade happened."""
        if not self._listeners:
            return
        market = self._exchange.market.pairs[trade.symbol]
        cache: dict[str, list[dict[str, Any]]] = {}
        for listener in list(self._listeners):
            for name, (symbol, kind, interval) in listener.names.items():
                if symbol == trade.symbol:
                    if name not in cache:
                        cache[name] = self._payloads(market, trade, kind, interval)
                    for payload in cache[name]:
                        listener.push(name, payload)

    def _payloads(
        self, market: PairMarket, trade: PublicTrade, kind: str, interval: str | None
    ) -> list[dict[str, Any]]:
        if interval is not None:
            return self._klines(market, trade, interval)
        if kind == "bookTicker":
            return [_book_ticker(market, trade)]
        if kind == "miniTicker":
            return [_mini_ticker(market, trade)]
        return [_trade(trade, is_aggregate=kind == "aggTrade")]

    def _klines(
        self, market: PairMarket, trade: PublicTrade, interval: str
    ) -> list[dict[str, Any]]:
        last = market.candles.query(interval, start_ms=None, end_ms=None, limit=2)
        key = (trade.symbol, interval)
        known = self._open_candles.get(key)
        self._open_candles[key] = last[-1].open_ms
        payloads: list[dict[str, Any]] = []
        if known is not None and known != last[-1].open_ms and known == last[0].open_ms:
            payloads.append(_kline(trade, last[0], interval, is_closed=True))
        payloads.append(_kline(trade, last[-1], interval, is_closed=False))
        return payloads

    def close(self) -> None:
        """Ask every connection to close."""
        for listener in list(self._listeners):
            listener.connection.close()


def _control(listener: _Listener, message: str) -> dict[str, Any]:
    """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
    request_id: Any = None
    try:
        try:
            request = json.loads(message)
        except ValueError:
            raise BinanceError(3, "Invalid JSON") from None
        if not isinstance(request, dict):
            raise BinanceError(2, "Invalid request: not an object")
        request_id = request.get("id")
        method, names = request.get("method"), request.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(listener.names), "id": request_id}
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BinanceError(2, "Invalid request: params must be a list of stream names")
        if method == "SUBSCRIBE":
            listener.add(names)
        elif method == "UNSUBSCRIBE":
            for name in names:
                listener.names.pop(name, None)
        else:
            raise BinanceError(2, "Invalid request: unknown method")
    except BinanceError as error:
        return {"error": {"code": error.code, "msg": error.message}, "id": request_id}
    return {"result": None, "id": request_id}


def _trade(trade: PublicTrade, *, is_aggregate: bool) -> dict[str, Any]:
    ids = {"a": trade.id, "f": trade.id, "l": trade.id} if is_aggregate else {"t": trade.id}
    return {
        "e": "aggTrade" if is_aggregate else "trade",
        "E": trade.time_ms,
        "s": trade.symbol,
        **ids,
        "p": text(trade.price),
        "q": text(trade.quantity),
        "T": trade.time_ms,
        "m": trade.is_buyer_maker,
        "M": True,
    }


def _book_ticker(market: PairMarket, trade: PublicTrade) -> dict[str, Any]:
    quote = market.quote
    return {
        "u": trade.id,
        "s": trade.symbol,
        "b": text(quote.bid),
        "B": text(trade.quantity),
        "a": text(quote.ask),
        "A": text(trade.quantity),
    }


def _mini_ticker(market: PairMarket, trade: PublicTrade) -> dict[str, Any]:
    hours = market.candles.query("1h", start_ms=trade.time_ms - DAY_MS, end_ms=None, limit=25)
    return {
        "e": "24hrMiniTicker",
        "E": trade.time_ms,
        "s": trade.symbol,
        "c": text(trade.price),
        "o": text(from_units(hours[0].open)),
        "h": text(from_units(max(hour.high for hour in hours))),
        "l": text(from_units(min(hour.low for hour in hours))),
        "v": text(from_units(sum(hour.volume for hour in hours))),
        "q": text(from_units(sum(hour.quote_volume for hour in hours))),
    }


def _kline(trade: PublicTrade, candle: Candle, interval: str, *, is_closed: bool) -> dict[str, Any]:
    return {
        "e": "kline",
        "E": trade.time_ms,
        "s": trade.symbol,
        "k": {
            "t": candle.open_ms,
            "T": close_ms(interval, candle.open_ms),
            "s": trade.symbol,
            "i": interval,
            "f": -1,
            "L": -1,
            "o": text(from_units(candle.open)),
            "c": text(from_units(candle.close)),
            "h": text(from_units(candle.high)),
            "l": text(from_units(candle.low)),
            "v": text(from_units(candle.volume)),
            "n": candle.trades,
            "x": is_closed,
            "q": text(from_units(candle.quote_volume)),
            "V": text(from_units(candle.taker_buy_volume)),
            "Q": text(from_units(candle.taker_buy_quote)),
            "B": "0",
        },
    }
