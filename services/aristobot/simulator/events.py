"""The events that an exchange's state is made of, as JSON-ready lists `[kind, ...]`. Pure.

One function per kind; `book.Book` has one applier for each. The kinds that only a snapshot has
(`kept-...`) are the book's own, those of prices and candles are `market_memory`'s.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aristobot.core.orders import OrderStatus
from aristobot.simulator.orders import EndReason, Order, OrderList, Trade

Event = list[Any]


def text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def account_event(api_key: str, secret: str, uid: int) -> Event:
    """A new account, without balances."""
    return ["account", api_key, secret, uid]


def balances_event(api_key: str, balances: dict[str, str], time_ms: int) -> Event:
    """Free balances set to these amounts; assets not named go to zero (nothing may be locked)."""
    return ["balances", api_key, balances, time_ms]


def accepted_event(order: Order) -> Event:
    """An order accepted, with `order.locked` taken from the free balance."""
    return [
        "order", order.id, order.account.api_key, order.pair.symbol, order.client_id,
        order.side.value, order.kind.value, order.lifetime.value, str(order.price),
        str(order.quantity), str(order.quote_requested), order.created_ms, str(order.locked),
        order.hold_until_ms, text_or_none(order.fixed_price), order.expires_when_due,
        order.trigger and order.trigger.value, str(order.stop_price), order.list_id,
        order.plan and [str(order.plan.fraction), order.plan.seconds, order.plan.rest_expires],
    ]  # fmt: skip


def list_event(made: OrderList) -> Event:
    """An order list accepted, with `made.locked` taken from the free balance; its orders follow."""
    return [
        "list", made.id, made.account.api_key, made.pair.symbol, made.client_id, made.side.value,
        [list(leg) for leg in made.legs], made.created_ms, str(made.locked),
    ]  # fmt: skip


def held_event(
    order_id: int, until_ms: int, fixed_price: Decimal, *, expires_when_due: bool
) -> Event:
    """What remains of the order waits, by a fault's plan; it fills at `fixed_price`, or ends."""
    return ["held", order_id, until_ms, str(fixed_price), expires_when_due]


def list_done_event(list_id: int, time_ms: int) -> Event:
    """A list that is no longer open; what it has locked is released."""
    return ["list-done", list_id, time_ms]


def working_event(order_id: int, time_ms: int, locked: Decimal) -> Event:
    """An order that meets the market from now on by itself, holding exactly `locked`."""
    return ["working", order_id, time_ms, str(locked)]


def filled_event(trade: Trade) -> Event:
    """A fill; what a completed order still has locked is released by applying it."""
    return [
        "fill", trade.order.id, trade.id, str(trade.price), str(trade.quantity), str(trade.quote),
        str(trade.fee), trade.time_ms, trade.is_maker,
    ]  # fmt: skip


def ended_event(
    order_id: int,
    status: OrderStatus,
    reason: EndReason,
    time_ms: int,
    cancel_client_id: str | None = None,
) -> Event:
    """An order that ends without being filled completely; what it has locked is released."""
    return ["end", order_id, status.value, reason.value, time_ms, cancel_client_id]
