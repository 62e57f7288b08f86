"""Which stop and target a position needs once an order for it is over.

The gateway's pure step between an order's end and the orders that protect what it left behind.
Long only (spot): a stop below the entry and a target above it, both sales of the whole position.
Prices go to the tick away from the entry (a stop down, a target up), so that rounding never puts
one on the entry's other side; the quantity goes down to the lot step. What is too small for any
order is dust, and said to be so.

Deliberately not here: whether the market has passed a price already. Only the exchange knows, and
a stop above the entry is not corrected: it is what was asked for, and the exchange's no to it
becomes a sale at market.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, localcontext

from aristobot.core.symbols import SymbolRules

# Exact for any price times any fraction, and what isn't exact (a division) goes towards less.
_CONTEXT = Context(prec=100, rounding=ROUND_DOWN)
_ZERO = Decimal(0)
_ONE = Decimal(1)
#: Where a venue names no step: finer than 8 decimals is taken by none.
_FINEST = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Aim:
    """A stop or target as it was asked for: a price, or a fraction of the entry's price."""

    value: Decimal
    is_fraction: bool


@dataclass(frozen=True, slots=True)
class Cover:
    """The protective orders: with both prices a pair that cancels each other, else a single one.

    `quantity` in base; the prices are those that trigger.
    """

    quantity: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Nothing is to be placed; `code`: nothing_left, no_levels, dust, bad_level."""

    code: str
    reason: str


def holding(held_then: Decimal, moved_then: Decimal, moved_now: Decimal) -> Decimal:
    """What is held now: what was held then, and what the holder's orders have moved since.

    `moved_*` is the sum over all of a holder's orders, bought net of fees less sold, in base.
    """
    with localcontext(_CONTEXT):
        return max(held_then + moved_now - moved_then, _ZERO)


def cover(
    held: Decimal,
    *,
    stop: Aim | None,
    target: Aim | None,
    entry_price: Decimal | None,
    rules: SymbolRules,
) -> Cover | Uncovered:
    """The protective orders of a position of `held` base, entered at `entry_price` on average.

    `entry_price` may be None if both aims are prices (an exit has no entry of its own).
    """
    with localcontext(_CONTEXT):
        if held <= 0:
            return Uncovered("nothing_left", "nothing is left to protect")
        if stop is None and target is None:
            return Uncovered("no_levels", "the position has neither stop nor target")
        if entry_price is None and (_is_fraction(stop) or _is_fraction(target)):
            return Uncovered(
                "bad_level", "a fraction of the entry's price, and that price is not known"
            )
        stop_price = _stop_price(stop, entry_price, rules)
        target_price = _target_price(target, entry_price, rules)
        if stop_price is not None and stop_price <= 0:
            return Uncovered("bad_level", "the stop comes to a price of nothing")
        reference = entry_price or stop_price or target_price or _ZERO
        quantity = sellable(held, reference, rules)
        if isinstance(quantity, Uncovered):
            return quantity
        return Cover(quantity, stop_price, target_price)


def sellable(held: Decimal, price: Decimal, rules: SymbolRules) -> Decimal | Uncovered:
    """The whole lots in `held` base, worth `price` each, if the exchange takes an order of them."""
    with localcontext(_CONTEXT):
        if held <= 0:
            return Uncovered("nothing_left", "nothing is left to protect")
        # A stop is bound by both rules: LOT_SIZE, and MARKET_LOT_SIZE once it triggers.
        step = max(rules.limit.step or _ZERO, rules.market.step or _ZERO)
        quantity = _floor(held, step)
        dust = _dust(quantity, price, rules)
        return quantity if dust is None else Uncovered("dust", dust)


def _is_fraction(aim: Aim | None) -> bool:
    return aim is not None and aim.is_fraction


def _stop_price(aim: Aim | None, entry: Decimal | None, rules: SymbolRules) -> Decimal | None:
    if aim is None:
        return None
    price = aim.value
    if aim.is_fraction and entry is not None:
        price = entry * (_ONE - aim.value)
    return _floor(price, rules.price_tick)


def _target_price(aim: Aim | None, entry: Decimal | None, rules: SymbolRules) -> Decimal | None:
    if aim is None:
        return None
    price = aim.value
    if aim.is_fraction and entry is not None:
        price = entry * (_ONE + aim.value)
    floored = _floor(price, rules.price_tick)
    return floored if floored == price else floored + (rules.price_tick or _FINEST)


def _dust(quantity: Decimal, price: Decimal, rules: SymbolRules) -> str | None:
    """Why no order can be made of it; None if one can."""
    minimum = max(rules.limit.minimum or _ZERO, rules.market.minimum or _ZERO)
    if quantity <= 0 or quantity < minimum:
        return f"{quantity:f} {rules.base} is less than the exchange takes in one order"
    if rules.min_notional is not None and quantity * price < rules.min_notional:
        return (
            f"{quantity:f} {rules.base} at {price:f} is worth less than the exchange takes in one "
            f"order ({rules.min_notional:f} {rules.quote})"
        )
    return None


def _floor(value: Decimal, step: Decimal | None) -> Decimal:
    unit = step if step else _FINEST
    return value // unit * unit
