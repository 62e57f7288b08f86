"""Binance's signed endpoints over the engine (exchange reference 2.5, 2.6)."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from aristobot.core.orders import OrderStatus
from aristobot.simulator.accounts import Account
from aristobot.simulator.binance import params as read
from aristobot.simulator.binance.calls import Access, Call, Endpoint
from aristobot.simulator.binance.errors import (
    BinanceError,
    from_refusal,
    invalid_value,
    neither_sent,
    unknown_order,
)
from aristobot.simulator.binance.exchange_info import rate_limits
from aristobot.simulator.binance.list_rendering import list_cancelled
from aristobot.simulator.binance.order_request import (
    ResponseType,
    new_client_id,
    order_request,
    response_type,
)
from aristobot.simulator.binance.rendering import (
    account_query,
    order_ack,
    order_cancelled,
    order_full,
    order_query,
    order_result,
    text,
    trade_query,
)
from aristobot.simulator.candles import DAY_MS
from aristobot.simulator.orders import Order, Refusal, Refused, Trade
from aristobot.simulator.pairs import PAIRS

_STANDARD_FEE = next(iter(PAIRS.values())).fee_rate
RENDER = {
    ResponseType.ACK: order_ack,
    ResponseType.RESULT: order_result,
    ResponseType.FULL: order_full,
}


def _account(call: Call) -> dict[str, Any]:
    omit_zero = call.params.get("omitZeroBalances", "").lower() == "true"
    return account_query(call.account, _STANDARD_FEE, omit_zero=omit_zero)


def _commission(call: Call) -> dict[str, Any]:
    pair = read.pair(call.params)
    standard = {"maker": text(pair.fee_rate), "taker": text(pair.fee_rate)}
    nothing = dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")
    return {
        "symbol": pair.symbol,
        "standardCommission": {**nothing, **standard},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.00000000",
        },
    }


def _place(call: Call) -> dict[str, Any]:
    request = order_request(call.params)
    render = RENDER[response_type(call.params, request)]
    account = call.account
    call.limits.check_order(account.api_key, call.now_ms)
    try:
        order = call.exchange.place(account, request, call.plan)
    except Refused as refused:
        raise from_refusal(refused.refusal) from refused
    return render(order)


def _test_order(call: Call) -> dict[str, Any]:
    request = order_request(call.params)
    response_type(call.params, request)
    try:
        call.exchange.check(call.account, request)
    except Refused as refused:
        raise from_refusal(refused.refusal) from refused
    return {}


def _find(call: Call, *, absent: BinanceError) -> Order:
    """The order by `orderId` and/or `origClientOrderId` (the newest one with that id)."""
    pair = read.pair(call.params)
    order_id = read.integer(call.params, "orderId")
    client_id = read.client_id(call.params, "origClientOrderId")
    account = call.account
    if order_id is not None:
        order = call.exchange.book.orders.get(order_id)
        if order is None or order.account is not account or order.pair is not pair:
            raise absent
        if client_id is not None and order.client_id != client_id:
            raise BinanceError(-2039, "Client order ID does not match the order ID.")
        return order
    if client_id is None:
        raise neither_sent("origClientOrderId", "orderId")
    found = account.latest_by_client_id.get((pair.symbol, client_id))
    if found is None:
        raise absent
    return found


def _get_order(call: Call) -> dict[str, Any]:
    return order_query(_find(call, absent=unknown_order()))


def _cancel(call: Call) -> dict[str, Any]:
    unknown = from_refusal(Refusal.NOT_OPEN)
    order = _find(call, absent=unknown)
    wanted = {
        "ONLY_NEW": OrderStatus.NEW,
        "ONLY_PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    }
    restriction = call.params.get("cancelRestrictions")
    if restriction:
        if restriction not in wanted:
            raise invalid_value("cancelRestrictions")
        if order.is_open and order.status is not wanted[restriction]:
            raise BinanceError(-2011, "Order was not canceled due to cancel restrictions.")
    cancel_id = read.client_id(call.params, "newClientOrderId") or new_client_id()
    its_list = call.exchange.book.open_list_of(order)
    try:
        call.exchange.cancel([order], cancel_id)
    except Refused as refused:
        raise from_refusal(refused.refusal) from refused
    if its_list is not None:
        # One leg takes the other with it, and the answer is the list's.
        return list_cancelled(its_list, call.exchange.book.legs_of(its_list))
    return order_cancelled(order)


def _open_orders(call: Call) -> list[dict[str, Any]]:
    pair = read.optional_pair(call.params)
    by_symbol = call.account.open_orders
    symbols = list(by_symbol) if pair is None else [pair.symbol]
    return [order_query(o) for symbol in symbols for o in by_symbol.get(symbol, {}).values()]


def _cancel_open_orders(call: Call) -> list[dict[str, Any]]:
    pair = read.pair(call.params)
    orders = list(call.account.open_orders.get(pair.symbol, {}).values())
    if not orders:
        raise from_refusal(Refusal.NOT_OPEN)
    book = call.exchange.book
    lists = {found.id: found for found in map(book.open_list_of, orders) if found is not None}
    call.exchange.cancel(orders, new_client_id())
    alone = [order_cancelled(order) for order in orders if order.list_id not in lists]
    return [*alone, *(list_cancelled(done, book.legs_of(done)) for done in lists.values())]


def window(call: Call) -> tuple[int | None, int | None]:
    """`startTime` and `endTime`, at most 24 hours apart."""
    start, end = read.integer(call.params, "startTime"), read.integer(call.params, "endTime")
    if start is not None and end is not None:
        if start > end:
            raise BinanceError(-1127, "Start time must not be after end time.")
        if end - start > DAY_MS:
            raise BinanceError(-1127, "More than 24 hours between startTime and endTime.")
    return start, end


def _all_orders(call: Call) -> list[dict[str, Any]]:
    pair = read.pair(call.params)
    count = read.limit(call.params, default=500, maximum=1_000)
    from_id = read.integer(call.params, "orderId")
    start, end = window(call)
    orders: list[Order] = call.account.orders.get(pair.symbol, [])
    if from_id is not None:
        first = bisect_left(orders, from_id, key=lambda order: order.id)
        return [order_query(order) for order in orders[first : first + count]]
    found = [
        order
        for order in orders
        if (start is None or order.created_ms >= start) and (end is None or order.created_ms <= end)
    ]
    return [order_query(o) for o in (found[:count] if start is not None else found[-count:])]


def _my_trades(call: Call) -> list[dict[str, Any]]:
    pair = read.pair(call.params)
    count = read.limit(call.params, default=500, maximum=1_000)
    from_id = read.integer(call.params, "fromId")
    order_id = read.integer(call.params, "orderId")
    start, end = window(call)
    trades = _trades_of(call, call.account, pair.symbol, order_id)
    if from_id is not None:
        first = bisect_left(trades, from_id, key=lambda trade: trade.id)
        return [trade_query(trade) for trade in trades[first : first + count]]
    found = [
        trade
        for trade in trades
        if (start is None or trade.time_ms >= start) and (end is None or trade.time_ms <= end)
    ]
    return [trade_query(t) for t in (found[:count] if start is not None else found[-count:])]


def _trades_of(call: Call, account: Account, symbol: str, order_id: int | None) -> list[Trade]:
    if order_id is None:
        return account.trades.get(symbol, [])
    order = call.exchange.book.orders.get(order_id)
    if order is None or order.account is not account or order.pair.symbol != symbol:
        return []
    return order.trades


def _order_rate(call: Call) -> list[dict[str, Any]]:
    counts = call.limits.order_counts(call.account.api_key, call.now_ms)
    limits = [row for row in rate_limits(call.limits.values) if row["rateLimitType"] == "ORDERS"]
    return [{**row, "count": count} for row, count in zip(limits, counts, strict=True)]


def _open_orders_weight(params: dict[str, str]) -> int:
    return 6 if "symbol" in params else 80


def _my_trades_weight(params: dict[str, str]) -> int:
    return 5 if "orderId" in params else 20


def _test_order_weight(params: dict[str, str]) -> int:
    return 20 if params.get("computeCommissionRates", "").lower() == "true" else 1


def _signed(answer: Any, weight: Any) -> Endpoint:
    return Endpoint(answer, weight, Access.SIGNED)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v3/account"): _signed(_account, 20),
    ("GET", "/api/v3/account/commission"): _signed(_commission, 20),
    ("POST", "/api/v3/order"): Endpoint(_place, 1, Access.SIGNED, is_free_on_success=True),
    ("POST", "/api/v3/order/test"): _signed(_test_order, _test_order_weight),
    ("GET", "/api/v3/order"): _signed(_get_order, 4),
    ("DELETE", "/api/v3/order"): Endpoint(_cancel, 1, Access.SIGNED, is_free_on_success=True),
    ("GET", "/api/v3/openOrders"): _signed(_open_orders, _open_orders_weight),
    ("DELETE", "/api/v3/openOrders"): Endpoint(
        _cancel_open_orders, 1, Access.SIGNED, is_free_on_success=True
    ),
    ("GET", "/api/v3/allOrders"): _signed(_all_orders, 20),
    ("GET", "/api/v3/myTrades"): _signed(_my_trades, _my_trades_weight),
    ("GET", "/api/v3/rateLimit/order"): _signed(_order_rate, 40),
}
