"""How much to order: a percentage of what is free, made to fit the pair's rules.

The engine's last pure step before an order command. Amounts are rounded towards less (never more
than is free), limit prices to the tick in the user's favour: a buy down, a sell up. An order that
would break a bound is refused and not bent to fit, because a silently smaller order is not the
one that was asked for. Codes: not_trading, nothing_free, nothing_held, bad_percent, bad_price,
too_small, too_large, above_limit, not_enough.

Deliberately not here: the position (a sale is of what is free to sell), fees, and the price a
market order will get; `price` is the latest one and only an estimate there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Context, Decimal, localcontext

from aristobot.core.errors import Refused
from aristobot.core.symbols import QuantityRule, SymbolRules

# Exact for any amount times any percent, and what isn't exact (a division) goes towards less.
_CONTEXT = Context(prec=100, rounding=ROUND_DOWN)
#: Where a venue names no step: finer than 8 decimals is taken by none.
_FINEST = Decimal("0.00000001")
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Sized:
    """Exactly one of `quantity` (base) and `quote_quantity` (to spend); `price` for limit orders.

    `notional` is the order's worth in quote currency, for a market order at the latest price.
    """

    quantity: Decimal | None
    quote_quantity: Decimal | None
    price: Decimal | None
    notional: Decimal


def size_market_buy(
    rules: SymbolRules,
    free_quote: Decimal,
    percent: Decimal,
    price: Decimal,
    *,
    max_notional: Decimal | None = None,
) -> Sized:
    """Spend `percent` of the free quote currency at market; by quote amount where venues can.

    `max_notional` is the broker's own limit. Raises `Refused`.
    """
    with localcontext(_CONTEXT):
        _check(rules, percent, price)
        spend = _share(free_quote, percent, rules.quote, "nothing_free")
        if rules.market_by_quote:
            spend = _floor(spend, Decimal(1).scaleb(-rules.quote_precision))
        # By quote, the exchange finds the quantity itself and still checks it against its bounds.
        quantity = _floor(spend / price, rules.market.step)
        if rules.market_by_quote:
            sized = Sized(None, spend, None, spend)
        else:
            sized = Sized(quantity, None, None, quantity * price)
        _check_bounds(rules, rules.market, quantity, sized.notional, max_notional, is_market=True)
        return sized


def size_market_sell(
    rules: SymbolRules,
    free_base: Decimal,
    percent: Decimal,
    price: Decimal,
    *,
    max_notional: Decimal | None = None,
) -> Sized:
    """Sell `percent` of the free base currency at market.

    `max_notional` is the broker's own limit; leave it out where an exit must never be barred.
    Raises `Refused`.
    """
    with localcontext(_CONTEXT):
        _check(rules, percent, price)
        share = _share(free_base, percent, rules.base, "nothing_held")
        quantity = _floor(share, rules.market.step)
        notional = quantity * price
        _check_bounds(rules, rules.market, quantity, notional, max_notional, is_market=True)
        return Sized(quantity, None, None, notional)


def size_market_spend(
    rules: SymbolRules,
    free_quote: Decimal,
    amount: Decimal,
    price: Decimal,
    *,
    max_notional: Decimal | None = None,
) -> Sized:
    """Spend `amount` of the quote currency at market. More than is free is refused, never cut.

    Raises `Refused`.
    """
    with localcontext(_CONTEXT):
        _check(rules, _HUNDRED, price)
        if amount > free_quote:
            raise Refused(
                "not_enough",
                f"{_plain(amount)} {rules.quote} is to be spent and {_plain(free_quote)} is free",
            )
    return size_market_buy(rules, amount, _HUNDRED, price, max_notional=max_notional)


def is_sellable(rules: SymbolRules, quantity: Decimal, price: Decimal) -> bool:
    """Whether the exchange would take a sale of `quantity` (base) at market for its size."""
    if quantity <= 0:
        return False
    try:
        # A position can be sold in parts, so the largest order is no bound to it.
        bounds = replace(rules.market, maximum=None)
        unbounded = replace(rules, is_trading=True, market=bounds, max_notional=None)
        size_market_sell(unbounded, quantity, _HUNDRED, price)
    except Refused:
        return False
    return True


def size_limit_buy(
    rules: SymbolRules,
    free_quote: Decimal,
    percent: Decimal,
    limit_price: Decimal,
    *,
    max_notional: Decimal | None = None,
) -> Sized:
    """Buy for `percent` of the free quote currency at `limit_price`, rounded down to the tick.

    Raises `Refused`.
    """
    with localcontext(_CONTEXT):
        _check(rules, percent, limit_price)
        price = _floor(limit_price, rules.price_tick)
        if price <= 0:
            raise Refused(
                "bad_price",
                f"the limit price {_plain(limit_price)} {rules.quote} is below the smallest price "
                f"step of {rules.symbol}, {_plain(rules.price_tick or _FINEST)}",
            )
        spend = _share(free_quote, percent, rules.quote, "nothing_free")
        quantity = _floor(spend / price, rules.limit.step)
        notional = quantity * price
        _check_bounds(rules, rules.limit, quantity, notional, max_notional, is_market=False)
        return Sized(quantity, None, price, notional)


def size_limit_sell(
    rules: SymbolRules,
    free_base: Decimal,
    percent: Decimal,
    limit_price: Decimal,
    *,
    max_notional: Decimal | None = None,
) -> Sized:
    """Sell `percent` of the free base currency at `limit_price`, rounded up to the tick.

    Raises `Refused`.
    """
    with localcontext(_CONTEXT):
        _check(rules, percent, limit_price)
        price = _floor(limit_price, rules.price_tick)
        if price < limit_price:
            price += rules.price_tick or _FINEST
        share = _share(free_base, percent, rules.base, "nothing_held")
        quantity = _floor(share, rules.limit.step)
        notional = quantity * price
        _check_bounds(rules, rules.limit, quantity, notional, max_notional, is_market=False)
        return Sized(quantity, None, price, notional)


def smallest_order(rules: SymbolRules) -> Decimal:
    """The smallest base quantity that an order can have, notional aside: less than it is dust."""
    bounds = (rules.limit.step, rules.limit.minimum, rules.market.step, rules.market.minimum)
    return max(bound or _FINEST for bound in bounds)


def _check(rules: SymbolRules, percent: Decimal, price: Decimal) -> None:
    if not rules.is_trading:
        raise Refused("not_trading", f"{rules.symbol} is not open for trading at the exchange")
    if not 0 < percent <= _HUNDRED:
        raise Refused(
            "bad_percent", f"{_plain(percent)} % is not above 0 and at most 100 % of a balance"
        )
    if not price > 0:
        raise Refused("bad_price", f"{_plain(price)} is not a price for {rules.symbol}")


def _share(free: Decimal, percent: Decimal, asset: str, code: str) -> Decimal:
    if free <= 0:
        what = "to sell" if code == "nothing_held" else "to spend"
        raise Refused(code, f"no {asset} is free {what}")
    return free * percent / _HUNDRED


def _floor(value: Decimal, step: Decimal | None) -> Decimal:
    unit = step if step else _FINEST
    return value // unit * unit


def _check_bounds(
    rules: SymbolRules,
    bounds: QuantityRule,
    quantity: Decimal,
    notional: Decimal,
    max_notional: Decimal | None,
    *,
    is_market: bool,
) -> None:
    minimum = bounds.minimum or Decimal(0)
    if quantity <= 0 or quantity < minimum:
        least = max(minimum, bounds.step or _FINEST)
        raise Refused(
            "too_small",
            f"the order comes to {_plain(quantity)} {rules.base}; the exchange takes at least "
            f"{_plain(least)} {rules.base}",
        )
    if bounds.maximum is not None and quantity > bounds.maximum:
        raise Refused(
            "too_large",
            f"the order comes to {_plain(quantity)} {rules.base}; the exchange takes at most "
            f"{_plain(bounds.maximum)} {rules.base} in one order",
        )
    worth = f"the order is worth {_plain(notional)} {rules.quote}"
    least_notional = rules.min_notional if rules.min_notional_for_market or not is_market else None
    if least_notional is not None and notional < least_notional:
        raise Refused("too_small", f"{worth}; the exchange takes at least {_plain(least_notional)}")
    most_notional = rules.max_notional if rules.max_notional_for_market or not is_market else None
    if most_notional is not None and notional > most_notional:
        raise Refused("too_large", f"{worth}; the exchange takes at most {_plain(most_notional)}")
    if max_notional is not None and notional > max_notional:
        raise Refused("above_limit", f"{worth}; this broker's limit is {_plain(max_notional)}")


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
