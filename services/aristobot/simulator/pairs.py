"""The pairs the simulated exchange lists, with rules close to the real ones.

A recording may add a pair when the process starts; otherwise this is constant.

Every amount is a multiple of 1e-8 and `tick * quantity_step` has at most eight decimals, so that a
notional (price x quantity) is exact at the precision balances are kept in.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

UNIT = Decimal("0.00000001")
"""The smallest amount of any asset."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One spot pair. Prices and notionals are in quote units, quantities in base units."""

    symbol: str
    base: str
    quote: str
    start_price: Decimal
    tick: Decimal
    quantity_step: Decimal
    maximum_price: Decimal
    maximum_quantity: Decimal
    maximum_market_quantity: Decimal
    minimum_notional: Decimal = Decimal(5)
    maximum_notional: Decimal = Decimal(9_000_000)
    price_band_up: Decimal = Decimal(5)
    price_band_down: Decimal = Decimal("0.2")
    maximum_open_orders: int = 200
    maximum_conditional_orders: int = 5
    maximum_order_lists: int = 20
    fee_rate: Decimal = Decimal("0.001")

    @property
    def minimum_quantity(self) -> Decimal:
        return self.quantity_step


def _pair(
    base: str, price: str, tick: str, step: str, max_price: str, max_qty: str, max_market: str
) -> Pair:
    return Pair(
        symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        start_price=Decimal(price),
        tick=Decimal(tick),
        quantity_step=Decimal(step),
        maximum_price=Decimal(max_price),
        maximum_quantity=Decimal(max_qty),
        maximum_market_quantity=Decimal(max_market),
    )


PAIRS: dict[str, Pair] = {
    pair.symbol: pair
    for pair in (
        _pair("BTC", "100000.00", "0.01", "0.00001", "1000000", "9000", "120"),
        _pair("ETH", "3500.00", "0.01", "0.0001", "1000000", "9000", "2500"),
        _pair("BNB", "650.00", "0.01", "0.001", "100000", "900000", "15000"),
        _pair("SOL", "180.00", "0.01", "0.001", "100000", "90000", "40000"),
        _pair("XRP", "2.2000", "0.0001", "0.1", "10000", "9222449", "2500000"),
        _pair("ADA", "0.8000", "0.0001", "0.1", "1000", "900000", "900000"),
        _pair("DOGE", "0.20000", "0.00001", "1", "1000", "9000000", "9000000"),
    )
}
ASSETS: list[str] = [*(pair.base for pair in PAIRS.values()), "USDT"]


def list_pair(pair: Pair) -> None:
    """List one more pair, for as long as this process lives; one that is listed is replaced."""
    PAIRS[pair.symbol] = pair
    for asset in (pair.base, pair.quote):
        if asset not in ASSETS:
            ASSETS.append(asset)
