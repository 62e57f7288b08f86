"""A trading pair's rules as the sizing needs them, in venue-neutral terms.

The venues' parsers fill it; `core.sizing` obeys it. Steps and limits are Decimals in the pair's
own units (base for quantities, quote for prices and notionals); None means the venue sets none.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class QuantityRule:
    """Bounds and step of an order's base quantity. `step` None: any precision."""

    minimum: Decimal | None = None
    maximum: Decimal | None = None
    step: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """One spot pair. `limit`/`market` bound the base quantity of that order type."""

    symbol: str
    base: str
    quote: str
    is_trading: bool
    limit: QuantityRule
    market: QuantityRule
    price_tick: Decimal | None
    min_notional: Decimal | None
    min_notional_for_market: bool
    max_notional: Decimal | None
    max_notional_for_market: bool
    quote_precision: int
    market_by_quote: bool
