"""Binance's endpoints of order lists over the engine (exchange reference 2.5, 2.7).

Only one-cancels-other pairs, by `orderList/oco`; the deprecated `order/oco` and the pairs that
begin with a working order (OTO, OTOCO) are not offered, and exchangeInfo says so.
"""

from __future__ import annotations

from typing import Any

from aristobot.simulator.binance import params as read
from aristobot.simulator.binance.calls import Access, Call, Endpoint
from aristobot.simulator.binance.errors import (
    BinanceError,
    from_refusal,
    neither_sent,
    no_list_to_cancel,
    unknown_list,
)
from aristobot.simulator.binance.list_rendering import list_cancelled, list_placed, list_query
from aristobot.simulator.binance.order_list_request import list_request
from aristobot.simulator.binance.order_request import new_client_id, response_type
from aristobot.simulator.binance.trading import RENDER, window
from aristobot.simulator.orders import OrderList, Refused

_LEGS = 2


def _place(call: Call) -> dict[str, Any]:
    request = list_request(call.params)
    # The default is that of a stop order: ACK.
    render = RENDER[response_type(call.params, request.stop)]
    account = call.account
    call.limits.check_order(account.api_key, call.now_ms, orders=_LEGS)
    try:
        placed = call.exchange.place_list(account, request, call.plan)
    except Refused as refused:
        raise from_refusal(refused.refusal) from refused
    return list_placed(placed, [render(order) for order in call.exchange.book.legs_of(placed)])


def _find(call: Call, client_id_name: str, *, absent: BinanceError) -> OrderList:
    """The list by `orderListId` and/or its client id (the newest one with that id)."""
    list_id = read.integer(call.params, "orderListId")
    client_id = read.client_id(call.params, client_id_name)
    if list_id is None and client_id is None:
        raise neither_sent(client_id_name, "orderListId")
    lists = call.account.lists
    if list_id is not None:
        found = lists.get(list_id)
    else:
        newest_first = reversed(lists.values())
        found = next((known for known in newest_first if known.client_id == client_id), None)
    if found is None or (client_id is not None and found.client_id != client_id):
        raise absent
    return found


def _get(call: Call) -> dict[str, Any]:
    return list_query(_find(call, "origClientOrderId", absent=unknown_list()))


def _cancel(call: Call) -> dict[str, Any]:
    pair = read.pair(call.params)
    found = _find(call, "listClientOrderId", absent=no_list_to_cancel())
    if found.pair is not pair or not found.is_open:
        raise no_list_to_cancel()
    cancel_id = read.client_id(call.params, "newClientOrderId") or new_client_id()
    legs = call.exchange.book.legs_of(found)
    call.exchange.cancel(legs, cancel_id)
    return list_cancelled(found, legs)


def _open(call: Call) -> list[dict[str, Any]]:
    return [list_query(known) for known in call.account.open_lists.values()]


def _all(call: Call) -> list[dict[str, Any]]:
    count = read.limit(call.params, default=500, maximum=1_000)
    from_id = read.integer(call.params, "fromId")
    start, end = window(call)
    lists = list(call.account.lists.values())
    if from_id is not None:
        return [list_query(known) for known in lists if known.id >= from_id][:count]
    found = [
        known
        for known in lists
        if (start is None or known.created_ms >= start) and (end is None or known.created_ms <= end)
    ]
    return [list_query(k) for k in (found[:count] if start is not None else found[-count:])]


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/v3/orderList/oco"): Endpoint(_place, 1, Access.SIGNED, is_free_on_success=True),
    ("GET", "/api/v3/orderList"): Endpoint(_get, 4, Access.SIGNED),
    ("DELETE", "/api/v3/orderList"): Endpoint(_cancel, 1, Access.SIGNED, is_free_on_success=True),
    ("GET", "/api/v3/openOrderList"): Endpoint(_open, 6, Access.SIGNED),
    ("GET", "/api/v3/allOrderList"): Endpoint(_all, 20, Access.SIGNED),
}
