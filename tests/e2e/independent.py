"""Asks the simulator through ccxt's `binance` class, a client that others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ccxt

from tests.harness.platform import Platform


def ccxt_of(platform: Platform, broker: str) -> Any:
    """ccxt with the broker's credentials."""
    return ccxt_at(platform.simulator_url, platform.secret(f"{broker}-simulator"))


def ccxt_at(simulator_url: str, keys: Mapping[str, str]) -> Any:
    """ccxt with `apiKey` and `apiSecret`; its only changes are the base URL and spot alone."""
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
        exchange.urls["api"][scope] = f"{simulator_url}/api/v3"
    exchange.load_markets()
    return exchange


def order_by_client_id(exchange: Any, symbol: str, client_order_id: str) -> dict[str, Any]:
    """The order as the exchange has it. `symbol` in the exchange's form, such as BTCUSDT."""
    unified = exchange.markets_by_id[symbol][0]["symbol"]
    found: dict[str, Any] = exchange.fetch_order(
        None, unified, {"origClientOrderId": client_order_id}
    )
    return found
