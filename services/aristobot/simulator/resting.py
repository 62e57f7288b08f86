"""What the market does to one open order at the present price: nothing, or a few events. Pure.

A waiting (conditional) order is triggered as soon as the last price has reached its stop price,
not only in the moment of crossing it: so a trigger that a crash kept from being written down
happens at the next look. With the trigger, or with the first fill, an order leaves its list: the
other leg ends, the list is done, and the order holds its own funds. All of that is one journal
entry. Not here: taking new orders (`matching`), applying events (`book`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.events import (
    Event,
    ended_event,
    filled_event,
    held_event,
    list_done_event,
    working_event,
)
from aristobot.simulator.market import Quote
from aristobot.simulator.orders import EndReason, FillPlan, Kind, Lifetime, Order, OrderList, Trade
from aristobot.simulator.pairs import UNIT
from aristobot.simulator.rules import execution_price, floor_to, is_reached


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the orders: the prices, the two clocks, and the id of the next fill."""

    quote: Quote
    now_ms: int
    machine_ms: int
    trade_id: int


def is_matched(order: Order, quote: Quote) -> bool:
    """Whether the market is at the order's price or better."""
    if order.kind is Kind.MARKET:
        return True
    return quote.ask <= order.price if order.side is Side.BUY else quote.bid >= order.price


def fill_event(
    order: Order, quantity: Decimal, price: Decimal, look: Look, *, is_maker: bool
) -> Event:
    """A fill of that base quantity, with its fee."""
    quote = quantity * price
    received = quantity if order.side is Side.BUY else quote
    return filled_event(
        Trade(
            id=look.trade_id,
            order=order,
            price=price,
            quantity=quantity,
            quote=quote,
            fee=(received * order.pair.fee_rate).quantize(UNIT, ROUND_DOWN),
            fee_asset=order.received_asset,
            time_ms=look.now_ms,
            is_maker=is_maker,
        )
    )


def events_at(order: Order, its_list: OrderList | None, look: Look) -> list[Event]:
    """What happens to an open order now; `its_list` is the list it belongs to, if that is open."""
    if order.hold_until_ms is not None:
        if look.machine_ms < order.hold_until_ms:
            return []
        if order.expires_when_due:
            reason = EndReason.NO_LIQUIDITY
            return [ended_event(order.id, OrderStatus.EXPIRED, reason, look.now_ms)]
        if order.fixed_price is not None:
            is_maker = order.kind is Kind.POST_ONLY
            return [fill_event(order, order.remaining, order.fixed_price, look, is_maker=is_maker)]
    if order.is_waiting:
        return _triggered(order, its_list, look)
    if not is_matched(order, look.quote):
        return []
    events = _leaving(order, its_list, look) if its_list is not None else []
    return [*events, *_fills(order, order.price, look, is_maker=True)]


def _triggered(order: Order, its_list: OrderList | None, look: Look) -> list[Event]:
    if order.trigger is None or not is_reached(
        order.side, order.trigger, order.stop_price, look.quote.last
    ):
        return []
    held = order.locked if its_list is None else its_list.locked
    if needed_to_work(order, look.quote) > held + order.account.free(order.spent_asset):
        # A market purchase is paid at today's price, which may be far above the stop price.
        done = [] if its_list is None else [list_done_event(its_list.id, look.now_ms)]
        reason = EndReason.NO_FUNDS
        ended = ended_event(order.id, OrderStatus.EXPIRED, reason, look.now_ms)
        return [*done, *_others_end(order, its_list, look), ended]
    events = _leaving(order, its_list, look)
    if is_matched(order, look.quote):
        price = execution_price(order.side, look.quote)
        events += _fills(order, price, look, is_maker=False)
    elif order.lifetime is not Lifetime.GOOD_TILL_CANCELLED:
        is_all_or_nothing = order.lifetime is Lifetime.FILL_OR_KILL
        reason = (
            EndReason.NOT_FILLABLE_AT_ONCE if is_all_or_nothing else EndReason.IMMEDIATE_REMAINDER
        )
        events.append(ended_event(order.id, OrderStatus.EXPIRED, reason, look.now_ms))
    return events


def needed_to_work(order: Order, quote: Quote) -> Decimal:
    """What the order must hold to meet the market now."""
    if order.side is Side.SELL:
        return order.remaining
    return order.remaining * (quote.ask if order.kind is Kind.MARKET else order.price)


def _leaving(order: Order, its_list: OrderList | None, look: Look) -> list[Event]:
    """The order starts to work by itself: its list ends, and it holds what it needs."""
    events = _others_end(order, its_list, look)
    if its_list is not None:
        events.append(list_done_event(its_list.id, look.now_ms))
    return [*events, working_event(order.id, look.now_ms, needed_to_work(order, look.quote))]


def _others_end(order: Order, its_list: OrderList | None, look: Look) -> list[Event]:
    legs = () if its_list is None else its_list.legs
    return [
        ended_event(order_id, OrderStatus.EXPIRED, EndReason.OTHER_LEG, look.now_ms)
        for order_id, _ in legs
        if order_id != order.id
    ]


def _fills(order: Order, price: Decimal, look: Look, *, is_maker: bool) -> list[Event]:
    """All of it at once, or as a fault's plan stretches it."""
    plan: FillPlan | None = order.plan
    if plan is None:
        return [fill_event(order, order.remaining, price, look, is_maker=is_maker)]
    until_ms = look.machine_ms + round(plan.seconds * 1000)
    held = held_event(order.id, until_ms, price, expires_when_due=plan.rest_expires)
    quantity = floor_to(order.remaining * plan.fraction, order.pair.quantity_step)
    if not quantity:
        return [held]
    return [fill_event(order, quantity, price, look, is_maker=is_maker), held]
