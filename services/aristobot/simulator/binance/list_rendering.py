"""Order lists in Binance's JSON (exchange reference 2.7, 3.3). Pure.

A list is ALL_DONE as soon as it binds its orders no longer: when one of them has started to work
and the other has ended, or when both were cancelled.
"""

from __future__ import annotations

from typing import Any

from aristobot.simulator.binance.rendering import order_cancelled
from aristobot.simulator.book import ListChange
from aristobot.simulator.orders import Order, OrderList

_CONTINGENCY = "OCO"


def list_query(shown: OrderList) -> dict[str, Any]:
    """A list as GET orderList, openOrderList and allOrderList show it."""
    return {
        "orderListId": shown.id,
        "contingencyType": _CONTINGENCY,
        "listStatusType": "EXEC_STARTED" if shown.is_open else "ALL_DONE",
        "listOrderStatus": "EXECUTING" if shown.is_open else "ALL_DONE",
        "listClientOrderId": shown.client_id,
        "transactionTime": shown.updated_ms,
        "symbol": shown.pair.symbol,
        "orders": [
            {"symbol": shown.pair.symbol, "orderId": order_id, "clientOrderId": client_id}
            for order_id, client_id in shown.legs
        ],
    }


def list_placed(shown: OrderList, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer to a placed list; `reports` are its orders as `newOrderRespType` asks."""
    return {**list_query(shown), "orderReports": reports}


def list_cancelled(shown: OrderList, orders: list[Order]) -> dict[str, Any]:
    """The answer to a cancelled list, also when one of its orders was named."""
    return {**list_query(shown), "orderReports": [order_cancelled(order) for order in orders]}


def list_status(change: ListChange, event_ms: int) -> dict[str, Any]:
    """The user stream's event for a list."""
    shown = change.list
    return {
        "e": "listStatus",
        "E": event_ms,
        "s": shown.pair.symbol,
        "g": shown.id,
        "c": _CONTINGENCY,
        "l": "EXEC_STARTED" if shown.is_open else "ALL_DONE",
        "L": "EXECUTING" if shown.is_open else "ALL_DONE",
        "r": "NONE",
        "C": shown.client_id,
        "T": change.time_ms,
        "O": [
            {"s": shown.pair.symbol, "i": order_id, "c": client_id}
            for order_id, client_id in shown.legs
        ],
    }
