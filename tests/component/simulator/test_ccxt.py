"""ccxt's `binance` class, written by others, trades on the simulator unchanged."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from tests.component.simulator.conftest import KEY, SECRET, Venue


def _configure(exchange: Any, venue: Venue) -> Any:
    exchange.urls["api"]["public"] = f"{venue.base}/api/v3"
    exchange.urls["api"]["private"] = f"{venue.base}/api/v3"
    exchange.options["defaultType"] = "spot"
    exchange.options["fetchMarkets"] = {"types": ["spot"]}
    exchange.options["fetchCurrencies"] = False
    exchange.options["fetchMargins"] = False
    exchange.has["fetchCurrencies"] = False
    return exchange


@pytest.fixture
async def binance(venue: Venue) -> Any:
    exchange = _configure(
        ccxt.async_support.binance({"apiKey": KEY, "secret": SECRET, "timeout": 5000}), venue
    )
    yield exchange
    await exchange.close()


async def test_markets_and_balance_are_read(binance: Any) -> None:
    markets = await binance.load_markets()
    assert {"BTC/USDT", "ETH/USDT", "DOGE/USDT"} <= set(markets)
    assert markets["BTC/USDT"]["limits"]["cost"]["min"] == 5
    assert markets["BTC/USDT"]["precision"]["amount"] == 0.00001
    assert (await binance.fetch_balance())["USDT"]["free"] == 10000


async def test_market_buy_by_cost_and_sell(binance: Any) -> None:
    bought = await binance.create_market_buy_order_with_cost("BTC/USDT", 100)
    assert bought["status"] == "closed"
    assert 99 < bought["cost"] <= 100
    assert bought["trades"][0]["fee"]["currency"] == "BTC"
    sold = await binance.create_order("BTC/USDT", "market", "sell", 0.001)
    assert sold["status"] == "closed"
    assert sold["filled"] == 0.001
    trades = await binance.fetch_my_trades("BTC/USDT")
    assert [trade["side"] for trade in trades] == ["buy", "sell"]
    assert trades[1]["fee"]["currency"] == "USDT"
    balance = await binance.fetch_balance()
    fee = trades[1]["fee"]["cost"]
    assert balance["USDT"]["total"] == pytest.approx(
        10000 - bought["cost"] + sold["cost"] - fee, abs=1e-8
    )


async def test_limit_order_is_placed_read_and_cancelled(binance: Any) -> None:
    params = {"newClientOrderId": "mine-1"}
    placed = await binance.create_order("BTC/USDT", "limit", "buy", 0.01, 90000, params)
    assert placed["status"] == "open"
    assert placed["clientOrderId"] == "mine-1"
    assert (await binance.fetch_order(placed["id"], "BTC/USDT"))["remaining"] == 0.01
    assert [o["id"] for o in await binance.fetch_open_orders("BTC/USDT")] == [placed["id"]]
    assert (await binance.fetch_balance())["USDT"]["used"] == 900
    cancelled = await binance.cancel_order(placed["id"], "BTC/USDT")
    assert cancelled["status"] == "canceled"
    assert await binance.fetch_open_orders("BTC/USDT") == []
    assert (await binance.fetch_balance())["USDT"]["free"] == 10000
    assert [o["status"] for o in await binance.fetch_orders("BTC/USDT")] == ["canceled"]


async def test_stop_orders_are_placed_triggered_and_cancelled(binance: Any, venue: Venue) -> None:
    stop = await binance.create_order(
        "BTC/USDT", "market", "sell", 0.1, None, {"stopLossPrice": 95000}
    )
    target = await binance.create_order(
        "BTC/USDT", "limit", "sell", 0.1, 106000, {"takeProfitPrice": 105000}
    )
    maker = await binance.create_order("BTC/USDT", "limit", "sell", 0.1, 120000, {"postOnly": True})
    waiting = {o["id"]: o for o in await binance.fetch_open_orders("BTC/USDT")}
    assert waiting[stop["id"]]["triggerPrice"] == 95000
    assert waiting[target["id"]]["triggerPrice"] == 105000
    assert waiting[maker["id"]]["postOnly"] is True
    await venue.price("94000")
    filled = await binance.fetch_order(stop["id"], "BTC/USDT")
    assert (filled["status"], filled["filled"]) == ("closed", 0.1)
    cancelled = await binance.cancel_order(target["id"], "BTC/USDT")
    assert cancelled["status"] == "canceled"
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        await binance.create_order("BTC/USDT", "limit", "sell", 0.1, 90000, {"postOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="trigger immediately"):
        await binance.create_order(
            "BTC/USDT", "market", "sell", 0.1, None, {"stopLossPrice": 95000}
        )
    assert (await binance.fetch_balance())["BTC"]["used"] == 0.1


async def test_an_order_list_goes_through_ccxt(binance: Any, venue: Venue) -> None:
    made = await binance.private_post_orderlist_oco(
        {
            "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1",
            "aboveType": "LIMIT_MAKER", "abovePrice": "110000",
            "belowType": "STOP_LOSS", "belowStopPrice": "90000",
        }
    )  # fmt: skip
    stop, target = (leg["orderId"] for leg in made["orders"])
    assert len(await binance.private_get_openorderlist()) == 1
    await venue.price("111000")
    assert (await binance.fetch_order(target, "BTC/USDT"))["status"] == "closed"
    assert (await binance.fetch_order(stop, "BTC/USDT"))["status"] == "expired"


async def test_errors_are_the_ones_ccxt_knows(binance: Any, venue: Venue) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        await binance.create_order("BTC/USDT", "market", "buy", 0.5)
    with pytest.raises(ccxt.OrderNotFound):
        await binance.fetch_order("99999", "BTC/USDT")
    with pytest.raises(ccxt.OrderNotFound):
        await binance.cancel_order("99999", "BTC/USDT")
    with pytest.raises(ccxt.BadSymbol):
        await binance.publicGetTickerPrice({"symbol": "NOSUCHPAIR"})
    binance.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        await binance.fetch_balance()
    binance.secret, binance.apiKey = SECRET, "nobody"
    with pytest.raises(ccxt.AuthenticationError):
        await binance.fetch_balance()
    binance.apiKey = KEY
    await venue.fault("clock_skew", seconds=60)
    with pytest.raises(ccxt.InvalidNonce):
        await binance.fetch_balance()


async def test_market_data_is_read(binance: Any) -> None:
    ticker = await binance.fetch_ticker("BTC/USDT")
    assert ticker["bid"] < ticker["last"] < ticker["ask"]
    candles = await binance.fetch_ohlcv("ETH/USDT", "1h", limit=100)
    assert len(candles) == 100
    assert all(b[0] - a[0] == 3_600_000 for a, b in itertools.pairwise(candles))
    assert all(low <= min(o, c) <= max(o, c) <= high for _, o, high, low, c, _ in candles)
    book = await binance.fetch_order_book("BTC/USDT", 5)
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_ccxt_pro_watches_orders(venue: Venue) -> None:
    exchange = _configure(ccxt.pro.binance({"apiKey": KEY, "secret": SECRET}), venue)
    exchange.urls["api"]["ws"]["spot"] = f"{venue.ws}/ws"
    exchange.urls["api"]["ws"]["ws-api"]["spot"] = f"{venue.ws}/ws-api/v3"
    try:
        watching = asyncio.create_task(exchange.watch_orders("BTC/USDT"))
        for _ in range(100):
            await asyncio.sleep(0.05)
            client = exchange.clients.get(f"{venue.ws}/ws-api/v3")
            if (
                client is not None
                and "spot" in client.subscriptions
                and not client.futures.get("authenticate:signature:spot")
            ):
                break
        placed = await exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 90000)
        seen = await asyncio.wait_for(watching, 5)
        assert (seen[0]["id"], seen[0]["status"]) == (placed["id"], "open")

        async def closed(order_id: str) -> Any:
            while True:
                for order in await exchange.watch_orders("BTC/USDT"):
                    if (order["id"], order["status"]) == (order_id, "closed"):
                        return order

        async def closed_by(price: str, order_id: str) -> Any:
            # It must be listening before the price moves: ccxt wakes only who waits already.
            closing = asyncio.create_task(closed(order_id))
            await asyncio.sleep(0)
            await venue.price(price)
            return await asyncio.wait_for(closing, 5)

        assert (await closed_by("89000", placed["id"]))["filled"] == 0.01
        stop = await exchange.create_order(
            "BTC/USDT", "market", "sell", 0.01, None, {"stopLossPrice": 85000}
        )
        assert (await closed_by("84000", stop["id"]))["triggerPrice"] == 85000
        trade = (await asyncio.wait_for(exchange.watch_trades("ETH/USDT"), 5))[0]
        assert trade["price"] > 0
    finally:
        await exchange.close()
