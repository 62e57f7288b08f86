"""`exchangeInfo` turned into `SymbolRules` and rate limits.

Pure. Filters: exchange reference 2.4. A zero in a filter disables that bound. Market orders obey
MARKET_LOT_SIZE *and* LOT_SIZE, so their rule here is the stricter of the two. Filters that depend
on the moving price (PERCENT_PRICE) or on the account (MAX_NUM_ORDERS) are left to the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aristobot.core.symbols import QuantityRule, SymbolRules
from aristobot.exchanges.binance.limits import Limit
from aristobot.exchanges.binance.parsing import Unreadable, decimal, reads

_INTERVALS_MS: Mapping[str, int] = {
    "SECOND": 1_000,
    "MINUTE": 60_000,
    "HOUR": 3_600_000,
    "DAY": 86_400_000,
}
_HEADER_OF: Mapping[str, str] = {
    "REQUEST_WEIGHT": "x-mbx-used-weight",
    "ORDERS": "x-mbx-order-count",
}


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """The readable symbols by name, the names of the others, and the limits with a header."""

    symbols: Mapping[str, SymbolRules]
    unreadable: tuple[str, ...]
    limits: tuple[Limit, ...]


@reads
def exchange_info(body: Any) -> ExchangeInfo:
    """Read it all; one odd pair among thousands must not keep the others from trading."""
    readable: dict[str, SymbolRules] = {}
    unreadable: list[str] = []
    for entry in body["symbols"]:
        name = str(entry["symbol"])
        try:
            readable[name] = _rules(entry)
        except Unreadable:
            unreadable.append(name)
    return ExchangeInfo(readable, tuple(unreadable), _limits(body["rateLimits"]))


def _limits(entries: Sequence[Mapping[str, Any]]) -> tuple[Limit, ...]:
    limits = []
    for entry in entries:
        kind, interval = entry["rateLimitType"], entry["interval"]
        count = int(entry["intervalNum"])
        if kind in _HEADER_OF and interval in _INTERVALS_MS:
            header = f"{_HEADER_OF[kind]}-{count}{interval[0].lower()}"
            window_ms = count * _INTERVALS_MS[interval]
            limits.append(Limit(kind, window_ms, int(entry["limit"]), header))
    return tuple(limits)


@reads
def _rules(entry: Mapping[str, Any]) -> SymbolRules:
    filters = {f["filterType"]: f for f in entry["filters"]}
    lot = _quantity_rule(filters.get("LOT_SIZE"))
    market_lot = _quantity_rule(filters.get("MARKET_LOT_SIZE"))
    price_filter = filters.get("PRICE_FILTER", {})
    notional = filters.get("NOTIONAL", {})
    older = filters.get("MIN_NOTIONAL", {})
    for_market = bool(notional.get("applyMinToMarket", older.get("applyToMarket", False)))
    return SymbolRules(
        symbol=entry["symbol"],
        base=entry["baseAsset"],
        quote=entry["quoteAsset"],
        is_trading=entry["status"] == "TRADING" and entry.get("isSpotTradingAllowed", True),
        limit=lot,
        market=_stricter(lot, market_lot),
        price_tick=_bound(price_filter.get("tickSize")),
        min_notional=_bound(notional.get("minNotional", older.get("minNotional"))),
        min_notional_for_market=for_market,
        max_notional=_bound(notional.get("maxNotional")),
        max_notional_for_market=bool(notional.get("applyMaxToMarket", False)),
        quote_precision=int(entry["quoteAssetPrecision"]),
        market_by_quote=bool(entry.get("quoteOrderQtyMarketAllowed", False)),
    )


def _quantity_rule(lot: Mapping[str, Any] | None) -> QuantityRule:
    if lot is None:
        return QuantityRule()
    return QuantityRule(_bound(lot["minQty"]), _bound(lot["maxQty"]), _bound(lot["stepSize"]))


def _stricter(one: QuantityRule, other: QuantityRule) -> QuantityRule:
    """Steps are powers of ten at Binance, so the larger one satisfies both."""
    minimums = [m for m in (one.minimum, other.minimum) if m is not None]
    maximums = [m for m in (one.maximum, other.maximum) if m is not None]
    steps = [s for s in (one.step, other.step) if s is not None]
    return QuantityRule(
        max(minimums, default=None), min(maximums, default=None), max(steps, default=None)
    )


def _bound(value: object) -> Decimal | None:
    return None if value is None else (decimal(value) or None)
