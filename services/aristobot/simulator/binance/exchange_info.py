"""GET exchangeInfo: limits and every pair's rules in Binance's words (reference 2.3, 2.4). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aristobot.simulator.binance.limits import LimitValues
from aristobot.simulator.binance.rendering import TYPES, text
from aristobot.simulator.pairs import Pair


def rate_limits(values: LimitValues) -> list[dict[str, Any]]:
    """The limits in force."""
    return [
        _limit("REQUEST_WEIGHT", "MINUTE", 1, values.weight_per_minute),
        _limit("ORDERS", "SECOND", 10, values.orders_per_10_seconds),
        _limit("ORDERS", "DAY", 1, values.orders_per_day),
        _limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
    ]


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def exchange_info(pairs: Iterable[Pair], values: LimitValues, now_ms: int) -> dict[str, Any]:
    """The whole answer."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": rate_limits(values),
        "exchangeFilters": [],
        "symbols": [_symbol(pair) for pair in pairs],
    }


def _symbol(pair: Pair) -> dict[str, Any]:
    return {
        "symbol": pair.symbol,
        "status": "TRADING",
        "baseAsset": pair.base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(TYPES.values()),
        "icebergAllowed": False,
        "ocoAllowed": True,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(pair),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def filters(pair: Pair) -> list[dict[str, Any]]:
    """The pair's filters; `rules.check_filters` enforces exactly these."""
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text(pair.tick),
            "maxPrice": text(pair.maximum_price),
            "tickSize": text(pair.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": text(pair.minimum_quantity),
            "maxQty": text(pair.maximum_quantity),
            "stepSize": text(pair.quantity_step),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": text(pair.maximum_market_quantity),
            "stepSize": "0.00000000",
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(pair.price_band_up),
            "bidMultiplierDown": str(pair.price_band_down),
            "askMultiplierUp": str(pair.price_band_up),
            "askMultiplierDown": str(pair.price_band_down),
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": text(pair.minimum_notional),
            "applyMinToMarket": True,
            "maxNotional": text(pair.maximum_notional),
            # As on Binance, market orders are not bound from above by the notional.
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": pair.maximum_open_orders},
        {
            "filterType": "MAX_NUM_ALGO_ORDERS",
            "maxNumAlgoOrders": pair.maximum_conditional_orders,
        },
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": pair.maximum_order_lists},
    ]
