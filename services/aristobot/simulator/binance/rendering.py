"""The engine's objects in Binance's JSON (exchange reference 2.4-2.6, 3.3). Pure.

Amounts are strings with eight decimals; ids are numbers; times are UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.accounts import Account
from aristobot.simulator.book import BalanceSet, OrderChange
from aristobot.simulator.candles import Candle, close_ms, from_units
from aristobot.simulator.orders import EndReason, Kind, Lifetime, Order, Trade, Trigger

SIDES: Mapping[Side, str] = {Side.BUY: "BUY", Side.SELL: "SELL"}
TYPES: Mapping[tuple[Kind, Trigger | None], str] = {
    (Kind.LIMIT, None): "LIMIT",
    (Kind.POST_ONLY, None): "LIMIT_MAKER",
    (Kind.MARKET, None): "MARKET",
    (Kind.MARKET, Trigger.STOP): "STOP_LOSS",
    (Kind.LIMIT, Trigger.STOP): "STOP_LOSS_LIMIT",
    (Kind.MARKET, Trigger.TARGET): "TAKE_PROFIT",
    (Kind.LIMIT, Trigger.TARGET): "TAKE_PROFIT_LIMIT",
}
STATUSES: Mapping[OrderStatus, str] = {
    OrderStatus.NEW: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELLED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
}
LIFETIMES: Mapping[Lifetime, str] = {
    Lifetime.GOOD_TILL_CANCELLED: "GTC",
    Lifetime.IMMEDIATE_OR_CANCEL: "IOC",
    Lifetime.FILL_OR_KILL: "FOK",
}
EXPIRY_REASONS: Mapping[EndReason, str] = {
    EndReason.IMMEDIATE_REMAINDER: "UNFILLED_IOC_QUANTITY_EXPIRED",
    EndReason.NOT_FILLABLE_AT_ONCE: "UNFILLED_FOK_ORDER_EXPIRED",
    EndReason.NO_LIQUIDITY: "INSUFFICIENT_LIQUIDITY",
    EndReason.ACCOUNT_RESET: "EXCHANGE_CANCELED",
    EndReason.OTHER_LEG: "OCO_TRIGGER",
    EndReason.NO_FUNDS: "REJECTED",
}
_SELF_TRADE = "EXPIRE_MAKER"
_ZERO = Decimal(0)


def text(value: Decimal) -> str:
    """An amount as Binance writes it: eight decimals."""
    return f"{value:.8f}"


def type_of(order: Order) -> str:
    """The order's type."""
    return TYPES[order.kind, order.trigger]


def list_id_of(order: Order) -> int:
    """The id of the order's list, -1 without one."""
    return -1 if order.list_id is None else order.list_id


def _working_ms(order: Order) -> int:
    """When the order met the market; -1 while it waits for its stop price."""
    return -1 if order.working_ms is None else order.working_ms


def _expiry(order: Order) -> dict[str, str]:
    reason = EXPIRY_REASONS.get(order.end_reason) if order.end_reason else None
    return {"expiryReason": reason} if reason else {}


def order_query(order: Order) -> dict[str, Any]:
    """An order as GET order, openOrders and allOrders show it."""
    return {
        "symbol": order.pair.symbol,
        "orderId": order.id,
        "orderListId": list_id_of(order),
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(order.quote_requested),
        "cummulativeQuoteQty": text(order.executed_quote),
        "status": STATUSES[order.status],
        "timeInForce": LIFETIMES[order.lifetime],
        "type": type_of(order),
        "side": SIDES[order.side],
        "stopPrice": text(order.stop_price),
        "icebergQty": text(_ZERO),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working_ms is not None,
        "workingTime": _working_ms(order),
        "selfTradePreventionMode": _SELF_TRADE,
        **_expiry(order),
    }


def order_ack(order: Order) -> dict[str, Any]:
    """The short answer to a placed order."""
    return {
        "symbol": order.pair.symbol,
        "orderId": order.id,
        "orderListId": list_id_of(order),
        "clientOrderId": order.client_id,
        "transactTime": order.created_ms,
    }


def order_result(order: Order) -> dict[str, Any]:
    """The answer to a placed order without its fills."""
    return {
        **order_ack(order),
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(order.quote_requested),
        "cummulativeQuoteQty": text(order.executed_quote),
        "status": STATUSES[order.status],
        "timeInForce": LIFETIMES[order.lifetime],
        "type": type_of(order),
        "side": SIDES[order.side],
        **({"stopPrice": text(order.stop_price)} if order.trigger else {}),
        "workingTime": _working_ms(order),
        "selfTradePreventionMode": _SELF_TRADE,
        **_expiry(order),
    }


def order_full(order: Order) -> dict[str, Any]:
    """The long answer to a placed order, with its fills so far."""
    fills = [
        {
            "price": text(trade.price),
            "qty": text(trade.quantity),
            "commission": text(trade.fee),
            "commissionAsset": trade.fee_asset,
            "tradeId": trade.id,
        }
        for trade in order.trades
    ]
    return {**order_result(order), "fills": fills}


def order_cancelled(order: Order) -> dict[str, Any]:
    """The answer to a cancel: `clientOrderId` is the cancel's own id."""
    shown = order_result(order)
    del shown["workingTime"]  # the one field of a placed order that a cancelled one has not
    return {
        **shown,
        "origClientOrderId": order.client_id,
        "clientOrderId": order.cancel_client_id or "",
        "transactTime": order.updated_ms,
    }


def trade_query(trade: Trade) -> dict[str, Any]:
    """A fill as myTrades shows it."""
    order = trade.order
    return {
        "symbol": order.pair.symbol,
        "id": trade.id,
        "orderId": order.id,
        "orderListId": list_id_of(order),
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.quote),
        "commission": text(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.time_ms,
        "isBuyer": order.side is Side.BUY,
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def account_query(account: Account, fee_rate: Decimal, *, omit_zero: bool) -> dict[str, Any]:
    """GET account."""
    rate = text(fee_rate)
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": rate,
            "taker": rate,
            "buyer": text(_ZERO),
            "seller": text(_ZERO),
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": account.updated_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
            for asset, balance in account.balances.items()
            if not omit_zero or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
        "uid": account.uid,
    }


def kline_row(candle: Candle, interval: str) -> list[Any]:
    """A candle as the klines endpoint shows it."""
    return [
        candle.open_ms,
        text(from_units(candle.open)),
        text(from_units(candle.high)),
        text(from_units(candle.low)),
        text(from_units(candle.close)),
        text(from_units(candle.volume)),
        close_ms(interval, candle.open_ms),
        text(from_units(candle.quote_volume)),
        candle.trades,
        text(from_units(candle.taker_buy_volume)),
        text(from_units(candle.taker_buy_quote)),
        "0",
    ]


def execution_report(change: OrderChange, event_ms: int, execution_id: int) -> dict[str, Any]:
    """The user stream's event for one change of an order, at the state it has now.

    A trigger is told as the order's second NEW, now with `w` true: so it is understood here, the
    documentation does not say.
    """
    order, trade = change.order, change.trade
    is_cancel = order.status is OrderStatus.CANCELLED
    is_working = order.is_open and not order.is_waiting
    if trade is not None:
        execution = "TRADE"
    elif change.is_end:
        execution = "CANCELED" if is_cancel else "EXPIRED"
    else:
        execution = "NEW"
    event: dict[str, Any] = {
        "e": "executionReport",
        "E": event_ms,
        "s": order.pair.symbol,
        "c": (order.cancel_client_id or "") if is_cancel else order.client_id,
        "S": SIDES[order.side],
        "o": type_of(order),
        "f": LIFETIMES[order.lifetime],
        "q": text(order.quantity),
        "p": text(order.price),
        "P": text(order.stop_price),
        "F": text(_ZERO),
        "g": list_id_of(order),
        "C": order.client_id if is_cancel else "",
        "x": execution,
        "X": STATUSES[order.status],
        "r": "NONE",
        "i": order.id,
        "l": text(trade.quantity if trade else _ZERO),
        "z": text(order.executed),
        "L": text(trade.price if trade else _ZERO),
        "n": text(trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": change.time_ms,
        "t": trade.id if trade else -1,
        "I": execution_id,
        "w": is_working and (order.kind is not Kind.MARKET or order.trigger is not None),
        "m": trade.is_maker if trade else False,
        "M": False,
        "O": order.created_ms,
        "Z": text(order.executed_quote),
        "Y": text(trade.quote if trade else _ZERO),
        "Q": text(order.quote_requested),
        "V": _SELF_TRADE,
    }
    if order.working_ms is not None:
        event["W"] = order.working_ms
    reason = _expiry(order).get("expiryReason") if change.is_end else None
    if reason:
        event["eR"] = reason
    return event


def account_position(
    account: Account, assets: tuple[str, ...], event_ms: int, updated_ms: int
) -> dict[str, Any]:
    """The user stream's event with the balances of the assets that may have changed."""
    return {
        "e": "outboundAccountPosition",
        "E": event_ms,
        "u": updated_ms,
        "B": [
            {
                "a": asset,
                "f": text(account.balance(asset).free),
                "l": text(account.balance(asset).locked),
            }
            for asset in assets
        ],
    }


def balance_updates(change: BalanceSet, event_ms: int) -> list[dict[str, Any]]:
    """The user stream's events for balances that were set from outside."""
    return [
        {"e": "balanceUpdate", "E": event_ms, "a": asset, "d": text(delta), "T": change.time_ms}
        for asset, delta in change.deltas.items()
    ]
