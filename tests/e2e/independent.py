"""Asks the simulator through ccxt's `binance` class, a client that others wrote."""

from __future__ import annotations

from typing import Any

import ccxt

from tests.harness.platform import Platform


def ccxt_of(platform: Platform, broker: str) -> Any:
    """ccxt with the broker's credentials; its only changes are the base URL and spot alone."""
    keys = platform.secret(f"{broker}-simulator")
    exchange = ccxt.binance(
        {
            "apiKey": keys["apiKey"],
            "secret": keys["apiSecret"],
            "timeout": 10_000,
            "enableRateLimit": False,
            "options": {
                "defaultType": "spot",
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    exchange.has["fetchCurrencies"] = False
    for scope in ("public", "private"):
        exchange.urls["api"][scope] = f"{platform.simulator_url}/api/v3"
    exchange.load_markets()
    return exchange


def order_by_client_id(exchange: Any, symbol: str, client_order_id: str) -> dict[str, Any]:
    """The order as the exchange has it. `symbol` in the exchange's form, such as BTCUSDT."""
    unified = exchange.markets_by_id[symbol][0]["symbol"]
    found: dict[str, Any] = exchange.fetch_order(
        None, unified, {"origClientOrderId": client_order_id}
    )
    return found
