"""A Binance order's parameters as the engine's request (exchange reference 2.6). Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from aristobot.core.orders import Side
from aristobot.simulator.binance import params as read
from aristobot.simulator.binance.errors import (
    BinanceError,
    invalid_value,
    missing,
    neither_sent,
    not_required,
)
from aristobot.simulator.orders import Kind, Lifetime, OrderRequest, Trigger


class _Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"
    STOP_LOSS = "STOP_LOSS"
    STOP_LOSS_LIMIT = "STOP_LOSS_LIMIT"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"


class _TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class ResponseType(StrEnum):
    """How much the answer to a placed order says."""

    ACK = "ACK"
    RESULT = "RESULT"
    FULL = "FULL"


# What each type executes as, and what it waits for before that (reference 2.6).
MEANINGS: Mapping[OrderType, tuple[Kind, Trigger | None]] = {
    OrderType.LIMIT: (Kind.LIMIT, None),
    OrderType.MARKET: (Kind.MARKET, None),
    OrderType.LIMIT_MAKER: (Kind.POST_ONLY, None),
    OrderType.STOP_LOSS: (Kind.MARKET, Trigger.STOP),
    OrderType.STOP_LOSS_LIMIT: (Kind.LIMIT, Trigger.STOP),
    OrderType.TAKE_PROFIT: (Kind.MARKET, Trigger.TARGET),
    OrderType.TAKE_PROFIT_LIMIT: (Kind.LIMIT, Trigger.TARGET),
}
_LIFETIMES: Mapping[_TimeInForce, Lifetime] = {
    _TimeInForce.GTC: Lifetime.GOOD_TILL_CANCELLED,
    _TimeInForce.IOC: Lifetime.IMMEDIATE_OR_CANCEL,
    _TimeInForce.FOK: Lifetime.FILL_OR_KILL,
}
_NO_TRAILING = "Trailing stop orders are not supported for this symbol."
_NO_ICEBERG = "Iceberg orders are not supported for this symbol."


def response_type(params: read.Params, request: OrderRequest) -> ResponseType:
    """`newOrderRespType`, or Binance's default for the order type."""
    asked = read.named(params, "newOrderRespType", ResponseType, invalid_value("newOrderRespType"))
    if asked is not None:
        return asked
    is_plain = request.trigger is None and request.kind is not Kind.POST_ONLY
    return ResponseType.FULL if is_plain else ResponseType.ACK


def read_side(params: read.Params) -> Side:
    """The mandatory `side`."""
    side = read.named(params, "side", _Side, BinanceError(-1117, "Invalid side."))
    if side is None:
        raise missing("side")
    return Side.BUY if side is _Side.BUY else Side.SELL


def read_type(params: read.Params, name: str) -> OrderType:
    """A mandatory order type."""
    order_type = read.named(params, name, OrderType, BinanceError(-1116, "Invalid orderType."))
    if order_type is None:
        raise missing(name)
    return order_type


@dataclass(frozen=True, slots=True)
class Names:
    """How the parameters of one order are called: in an order list they have a prefix."""

    price: str = "price"
    stop_price: str = "stopPrice"
    lifetime: str = "timeInForce"
    client_id: str = "newClientOrderId"
    trailing: str = "trailingDelta"
    iceberg: str = "icebergQty"


def order_request(params: read.Params) -> OrderRequest:
    """The order asked for, or Binance's error for the first parameter that is wrong."""
    pair = read.pair(params)
    side = read_side(params)
    order_type = read_type(params, "type")
    kind, trigger = MEANINGS[order_type]
    quantity = read.amount(params, "quantity")
    quote_quantity = read.amount(params, "quoteOrderQty")
    if kind is Kind.MARKET and trigger is None:
        if quantity is None and quote_quantity is None:
            raise neither_sent("quantity", "quoteOrderQty")
        if quantity is not None and quote_quantity is not None:
            raise not_required("quoteOrderQty")
    elif quantity is None:
        raise missing("quantity")
    elif quote_quantity is not None:
        raise not_required("quoteOrderQty")
    return priced_order(
        params,
        Names(),
        order_type,
        symbol=pair.symbol,
        side=side,
        quantity=quantity,
        quote_quantity=quote_quantity,
    )


def priced_order(
    params: read.Params,
    names: Names,
    order_type: OrderType,
    *,
    symbol: str,
    side: Side,
    quantity: Decimal | None,
    quote_quantity: Decimal | None = None,
) -> OrderRequest:
    """An order's prices, time in force and client id, as its type demands them (reference 2.6)."""
    kind, trigger = MEANINGS[order_type]
    for name, message in ((names.trailing, _NO_TRAILING), (names.iceberg, _NO_ICEBERG)):
        if params.get(name):
            raise BinanceError(-2010, message)
    bad_lifetime = BinanceError(-1115, "Invalid timeInForce.")
    lifetime = read.named(params, names.lifetime, _TimeInForce, bad_lifetime)
    price = read.amount(params, names.price)
    stop_price = read.amount(params, names.stop_price)
    for name, value, is_needed in (
        (names.price, price, kind is not Kind.MARKET),
        (names.lifetime, lifetime, kind is Kind.LIMIT),
        (names.stop_price, stop_price, trigger is not None),
    ):
        if is_needed and value is None:
            raise missing(name)
        if not is_needed and value is not None:
            raise not_required(name)
    return OrderRequest(
        symbol=symbol,
        side=side,
        kind=kind,
        client_id=read.client_id(params, names.client_id) or new_client_id(),
        lifetime=_LIFETIMES[lifetime] if lifetime else Lifetime.GOOD_TILL_CANCELLED,
        price=price,
        quantity=quantity,
        quote_quantity=quote_quantity,
        trigger=trigger,
        stop_price=stop_price,
    )


def new_client_id() -> str:
    """A client id for an order or a cancel that came without one: 22 characters, as Binance's."""
    return secrets.token_urlsafe(16)
