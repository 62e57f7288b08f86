"""What the exchange refuses before it accepts an order: the pair's filters. Pure.

Balances and duplicate ids are checked by `matching`, which knows the account.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from aristobot.core.orders import Side
from aristobot.simulator.market import Quote
from aristobot.simulator.orders import Kind, OrderRequest, Refusal, Refused, Trigger
from aristobot.simulator.pairs import Pair


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `amount`."""
    return (amount / step).to_integral_value(ROUND_DOWN) * step


def execution_price(side: Side, quote: Quote) -> Decimal:
    """What a taker gets: the ask for a buy, the bid for a sell."""
    return quote.ask if side is Side.BUY else quote.bid


def base_quantity(request: OrderRequest, pair: Pair, quote: Quote) -> Decimal:
    """The order's base quantity; by quote amount it is what that buys (sells) now, floored."""
    if request.quantity is not None:
        return request.quantity
    if request.quote_quantity is None:
        raise ValueError("An order request needs a quantity or a quote quantity.")
    return floor_to(
        request.quote_quantity / execution_price(request.side, quote), pair.quantity_step
    )


def check_filters(request: OrderRequest, quantity: Decimal, pair: Pair, quote: Quote) -> None:
    """Raise `Refused` for the first filter the order breaks."""
    if request.price is not None:
        _check_step(request.price, pair)
        _check_band(request.price, pair, quote)
    if request.stop_price is not None:
        _check_step(request.stop_price, pair)
    if (
        quantity < pair.minimum_quantity
        or quantity > pair.maximum_quantity
        or quantity % pair.quantity_step
    ):
        raise Refused(Refusal.QUANTITY)
    if request.kind is Kind.MARKET and quantity > pair.maximum_market_quantity:
        raise Refused(Refusal.MARKET_QUANTITY)
    expected = request.price or request.stop_price or quote.last
    notional = request.quote_quantity or quantity * expected
    is_too_much = request.kind is not Kind.MARKET and notional > pair.maximum_notional
    if notional < pair.minimum_notional or is_too_much:
        raise Refused(Refusal.NOTIONAL)


def is_reached(side: Side, trigger: Trigger, stop_price: Decimal, last: Decimal) -> bool:
    """Whether the last price has reached a conditional order's stop price.

    A stop that sells and a target that buys wait for the price to fall to it, the others to rise.
    """
    if (trigger is Trigger.STOP) == (side is Side.SELL):
        return last <= stop_price
    return last >= stop_price


def check_list_prices(stop: OrderRequest, target: OrderRequest, quote: Quote) -> None:
    """Raise `Refused` unless the last price lies between a list's stop and its target."""
    stop_at, target_at = stop.stop_price, target.price or target.stop_price
    if stop_at is None or target_at is None:
        raise ValueError("Both legs of a list need a price.")
    low, high = (stop_at, target_at) if stop.side is Side.SELL else (target_at, stop_at)
    if not low < quote.last < high:
        raise Refused(Refusal.LIST_PRICES)


def _check_step(price: Decimal, pair: Pair) -> None:
    if price < pair.tick or price > pair.maximum_price or price % pair.tick:
        raise Refused(Refusal.PRICE_STEP)


def _check_band(price: Decimal, pair: Pair, quote: Quote) -> None:
    if not quote.last * pair.price_band_down <= price <= quote.last * pair.price_band_up:
        raise Refused(Refusal.PRICE_BAND)
