"""What the exchange refuses before it accepts an order: the pair's filters. Pure.

Balances and duplicate ids are checked by `matching`, which knows the account.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from aristobot.core.orders import Side
from aristobot.simulator.market import Quote
from aristobot.simulator.orders import Kind, OrderRequest, Refusal, Refused
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
        _check_price(request.side, request.price, pair, quote)
    if (
        quantity < pair.minimum_quantity
        or quantity > pair.maximum_quantity
        or quantity % pair.quantity_step
    ):
        raise Refused(Refusal.QUANTITY)
    if request.kind is Kind.MARKET and quantity > pair.maximum_market_quantity:
        raise Refused(Refusal.MARKET_QUANTITY)
    notional = request.quote_quantity or quantity * (request.price or quote.last)
    is_too_much = request.kind is not Kind.MARKET and notional > pair.maximum_notional
    if notional < pair.minimum_notional or is_too_much:
        raise Refused(Refusal.NOTIONAL)


def _check_price(side: Side, price: Decimal, pair: Pair, quote: Quote) -> None:
    if price < pair.tick or price > pair.maximum_price or price % pair.tick:
        raise Refused(Refusal.PRICE_STEP)
    if not quote.last * pair.price_band_down <= price <= quote.last * pair.price_band_up:
        raise Refused(Refusal.PRICE_BAND)
