"""Binance's public endpoints over the simulated market (exchange reference 2.4)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from aristobot.simulator.binance import params as read
from aristobot.simulator.binance.calls import Call, Endpoint
from aristobot.simulator.binance.errors import BinanceError, missing
from aristobot.simulator.binance.exchange_info import exchange_info
from aristobot.simulator.binance.rendering import kline_row, text
from aristobot.simulator.candles import DAY_MS, INTERVALS, MINUTE_MS, Candle, from_units
from aristobot.simulator.market import PairMarket
from aristobot.simulator.pairs import PAIRS, Pair


def _ping(call: Call) -> dict[str, Any]:
    return {}


def _time(call: Call) -> dict[str, Any]:
    return {"serverTime": call.now_ms}


def _exchange_info(call: Call) -> dict[str, Any]:
    pairs = read.pairs(call.params) or list(PAIRS.values())
    return exchange_info(pairs, call.limits.values, call.now_ms)


def _one_or_many(call: Call, row: Any) -> Any:
    """A single object for `symbol`, a list otherwise."""
    asked = read.pairs(call.params)
    markets = call.exchange.market.pairs
    if asked is not None and "symbol" in call.params:
        return row(markets[asked[0].symbol])
    return [row(markets[pair.symbol]) for pair in asked or PAIRS.values()]


def _price(call: Call) -> Any:
    return _one_or_many(
        call, lambda market: {"symbol": market.pair.symbol, "price": text(market.price)}
    )


def _level_quantity(pair: Pair, price: Decimal, level: int) -> Decimal:
    """A plausible quantity for a book level: worth 20,000 quote units and more with depth."""
    worth = Decimal(20_000 + 1_500 * level)
    step = pair.quantity_step
    return max((worth / price / step).to_integral_value(ROUND_HALF_UP), Decimal(1)) * step


def _book_ticker_row(market: PairMarket) -> dict[str, Any]:
    quote = market.quote
    return {
        "symbol": market.pair.symbol,
        "bidPrice": text(quote.bid),
        "bidQty": text(_level_quantity(market.pair, quote.bid, 0)),
        "askPrice": text(quote.ask),
        "askQty": text(_level_quantity(market.pair, quote.ask, 0)),
    }


def _book_ticker(call: Call) -> Any:
    return _one_or_many(call, _book_ticker_row)


def _day_row(market: PairMarket, now_ms: int) -> dict[str, Any]:
    minutes = market.candles.since(now_ms - DAY_MS)
    opened = from_units(minutes[0].open)
    volume = from_units(sum(m.volume for m in minutes))
    quote_volume = from_units(sum(m.quote_volume for m in minutes))
    change = market.price - opened
    ticker = _book_ticker_row(market)
    last_trade = market.trades[-1] if market.trades else None
    return {
        **ticker,
        "priceChange": text(change),
        "priceChangePercent": f"{change / opened * 100:.3f}",
        "weightedAvgPrice": text(quote_volume / volume if volume else market.price),
        "prevClosePrice": text(opened),
        "lastPrice": text(market.price),
        "lastQty": text(last_trade.quantity if last_trade else Decimal(0)),
        "openPrice": text(opened),
        "highPrice": text(from_units(max(m.high for m in minutes))),
        "lowPrice": text(from_units(min(m.low for m in minutes))),
        "volume": text(volume),
        "quoteVolume": text(quote_volume),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": -1,
        "lastId": last_trade.id if last_trade else -1,
        "count": sum(m.trades for m in minutes),
    }


def _day_ticker(call: Call) -> Any:
    now = call.exchange.market.now_ms
    return _one_or_many(call, lambda market: _day_row(market, now))


def _average_price(call: Call) -> dict[str, Any]:
    market = call.exchange.market.pairs[read.pair(call.params).symbol]
    now = call.exchange.market.now_ms
    minutes = market.candles.since(now - 5 * MINUTE_MS)
    volume = sum(minute.volume for minute in minutes)
    quote_volume = sum(minute.quote_volume for minute in minutes)
    average = Decimal(quote_volume) / Decimal(volume) if volume else market.price
    return {"mins": 5, "price": text(average), "closeTime": call.now_ms}


def _depth(call: Call) -> dict[str, Any]:
    market = call.exchange.market.pairs[read.pair(call.params).symbol]
    levels = read.limit(call.params, default=100, maximum=5_000)
    quote, pair = market.quote, market.pair
    step = max(quote.ask - quote.bid, pair.tick)

    def side(best: Decimal, direction: int) -> list[list[str]]:
        rows: list[list[str]] = []
        for level in range(levels):
            price = best + direction * step * level
            if price < pair.tick:
                break
            rows.append([text(price), text(_level_quantity(pair, price, level))])
        return rows

    return {
        "lastUpdateId": call.exchange.clock.machine_ms(),
        "bids": side(quote.bid, -1),
        "asks": side(quote.ask, 1),
    }


def _trades(call: Call) -> list[dict[str, Any]]:
    market = call.exchange.market.pairs[read.pair(call.params).symbol]
    count = read.limit(call.params, default=500, maximum=1_000)
    return [
        {
            "id": trade.id,
            "price": text(trade.price),
            "qty": text(trade.quantity),
            "quoteQty": text(trade.price * trade.quantity),
            "time": trade.time_ms,
            "isBuyerMaker": trade.is_buyer_maker,
            "isBestMatch": True,
        }
        for trade in list(market.trades)[-count:]
    ]


def _aggregate_trades(call: Call) -> list[dict[str, Any]]:
    market = call.exchange.market.pairs[read.pair(call.params).symbol]
    count = read.limit(call.params, default=500, maximum=1_000)
    start, end = read.integer(call.params, "startTime"), read.integer(call.params, "endTime")
    found = [
        trade
        for trade in market.trades
        if (start is None or trade.time_ms >= start) and (end is None or trade.time_ms <= end)
    ]
    return [
        {
            "a": trade.id,
            "p": text(trade.price),
            "q": text(trade.quantity),
            "f": trade.id,
            "l": trade.id,
            "T": trade.time_ms,
            "m": trade.is_buyer_maker,
            "M": True,
        }
        for trade in (found[:count] if start is not None else found[-count:])
    ]


def _klines(call: Call) -> list[list[Any]]:
    pair = read.pair(call.params)
    interval = call.params.get("interval")
    if not interval:
        raise missing("interval")
    if interval not in INTERVALS:
        raise BinanceError(-1120, "Invalid interval.")
    candles: list[Candle] = call.exchange.market.pairs[pair.symbol].candles.query(
        interval,
        start_ms=read.integer(call.params, "startTime"),
        end_ms=read.integer(call.params, "endTime"),
        limit=read.limit(call.params, default=500, maximum=1_000),
    )
    return [kline_row(candle, interval) for candle in candles]


def _depth_weight(params: dict[str, str]) -> int:
    text_limit = params.get("limit", "100")
    asked = int(text_limit) if text_limit.isascii() and text_limit.isdigit() else 100
    return 5 if asked <= 100 else 25 if asked <= 500 else 50 if asked <= 1000 else 250


def _two_or_four(params: dict[str, str]) -> int:
    return 2 if "symbol" in params else 4


def _day_weight(params: dict[str, str]) -> int:
    return 2 if "symbol" in params else 40 if "symbols" in params else 80


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/ping"): Endpoint(_ping, 1),
    ("GET", "/api/v3/time"): Endpoint(_time, 1),
    ("GET", "/api/v3/exchangeInfo"): Endpoint(_exchange_info, 20),
    ("GET", "/api/v3/ticker/price"): Endpoint(_price, _two_or_four),
    ("GET", "/api/v3/ticker/bookTicker"): Endpoint(_book_ticker, _two_or_four),
    ("GET", "/api/v3/ticker/24hr"): Endpoint(_day_ticker, _day_weight),
    ("GET", "/api/v3/avgPrice"): Endpoint(_average_price, 2),
    ("GET", "/api/v3/depth"): Endpoint(_depth, _depth_weight),
    ("GET", "/api/v3/trades"): Endpoint(_trades, 25),
    ("GET", "/api/v3/aggTrades"): Endpoint(_aggregate_trades, 4),
    ("GET", "/api/v3/klines"): Endpoint(_klines, 2),
}
