"""Whether the exchange takes an order or a pair of them from an account now. Pure.

`rules` knows the pair's filters; here come the market's price, the account's other orders and its
funds. A refusal names the first thing that is wrong; nothing is changed either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from aristobot.core.orders import Side
from aristobot.simulator.accounts import Account
from aristobot.simulator.market import Quote
from aristobot.simulator.orders import Kind, ListRequest, OrderRequest, Refusal, Refused
from aristobot.simulator.pairs import PAIRS, Pair
from aristobot.simulator.rules import (
    base_quantity,
    check_filters,
    check_list_prices,
    is_reached,
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An order's base quantity, and what it locks: quote for a buy, base for a sell."""

    quantity: Decimal
    needed: Decimal


def admit(account: Account, request: OrderRequest, quote: Quote) -> Admitted:
    """Raise `Refused` if the order is refused now."""
    pair = PAIRS[request.symbol]
    admitted = _checked(account, request, pair, quote)
    if request.kind is not Kind.MARKET or request.trigger is not None:
        _check_room(account, pair, [request])
    _check_funds(account, request.side, pair, admitted.needed)
    return admitted


def admit_list(account: Account, request: ListRequest, quote: Quote) -> Admitted:
    """Raise `Refused` if the pair is refused now. Its funds are needed once, for the dearer leg."""
    legs = [request.stop, request.target]
    pair = PAIRS[request.stop.symbol]
    check_list_prices(request.stop, request.target, quote)
    admitted = [_checked(account, leg, pair, quote) for leg in legs]
    _check_room(account, pair, legs)
    open_lists = account.open_lists.values()
    client_ids = {known.client_id for known in open_lists}
    if request.client_id in client_ids or request.stop.client_id == request.target.client_id:
        raise Refused(Refusal.DUPLICATE_CLIENT_ID)
    if sum(known.pair is pair for known in open_lists) >= pair.maximum_order_lists:
        raise Refused(Refusal.ORDER_LISTS)
    needed = max(leg.needed for leg in admitted)
    _check_funds(account, request.stop.side, pair, needed)
    return Admitted(admitted[0].quantity, needed)


def would_match(request: OrderRequest, quote: Quote) -> bool:
    """Whether an order with this price (or none) would fill at once."""
    if request.price is None:
        return True
    if request.side is Side.BUY:
        return request.price >= quote.ask
    return request.price <= quote.bid


def _checked(account: Account, request: OrderRequest, pair: Pair, quote: Quote) -> Admitted:
    """What can be said of an order without the account's other open orders and its funds."""
    quantity = base_quantity(request, pair, quote)
    check_filters(request, quantity, pair, quote)
    if request.client_id in account.open_client_ids:
        raise Refused(Refusal.DUPLICATE_CLIENT_ID)
    if request.kind is Kind.POST_ONLY and would_match(request, quote):
        raise Refused(Refusal.WOULD_MATCH)
    if (
        request.trigger is not None
        and request.stop_price is not None
        and is_reached(request.side, request.trigger, request.stop_price, quote.last)
    ):
        raise Refused(Refusal.WOULD_TRIGGER)
    price = request.price or request.stop_price or quote.ask
    return Admitted(quantity, quantity if request.side is Side.SELL else quantity * price)


def _check_room(account: Account, pair: Pair, requests: list[OrderRequest]) -> None:
    """The filters on how many orders an account may have open in a pair."""
    open_orders = account.open_orders.get(pair.symbol, {})
    if len(open_orders) + len(requests) > pair.maximum_open_orders:
        raise Refused(Refusal.OPEN_ORDERS)
    conditional = sum(request.trigger is not None for request in requests)
    waiting = sum(order.is_waiting for order in open_orders.values()) if conditional else 0
    if waiting + conditional > pair.maximum_conditional_orders:
        raise Refused(Refusal.CONDITIONAL_ORDERS)


def _check_funds(account: Account, side: Side, pair: Pair, needed: Decimal) -> None:
    if account.free(pair.quote if side is Side.BUY else pair.base) < needed:
        raise Refused(Refusal.INSUFFICIENT_BALANCE)
