"""A Binance order's parameters as the engine's request (exchange reference 2.6). Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
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
from aristobot.simulator.orders import Kind, Lifetime, OrderRequest


class _Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class _Type(StrEnum):
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


_KINDS: Mapping[_Type, Kind] = {
    _Type.LIMIT: Kind.LIMIT,
    _Type.MARKET: Kind.MARKET,
    _Type.LIMIT_MAKER: Kind.POST_ONLY,
}
_LIFETIMES: Mapping[_TimeInForce, Lifetime] = {
    _TimeInForce.GTC: Lifetime.GOOD_TILL_CANCELLED,
    _TimeInForce.IOC: Lifetime.IMMEDIATE_OR_CANCEL,
    _TimeInForce.FOK: Lifetime.FILL_OR_KILL,
}
_UNSUPPORTED = {
    "stopPrice": "Stop loss orders are not supported for this symbol.",
    "trailingDelta": "Trailing stop orders are not supported for this symbol.",
    "icebergQty": "Iceberg orders are not supported for this symbol.",
}


def response_type(params: read.Params, kind: Kind) -> ResponseType:
    """`newOrderRespType`, or Binance's default for the order type."""
    asked = read.named(params, "newOrderRespType", ResponseType, invalid_value("newOrderRespType"))
    if asked is not None:
        return asked
    return ResponseType.ACK if kind is Kind.POST_ONLY else ResponseType.FULL


def order_request(params: read.Params) -> OrderRequest:
    """The order asked for, or Binance's error for the first parameter that is wrong."""
    pair = read.pair(params)
    side = read.named(params, "side", _Side, BinanceError(-1117, "Invalid side."))
    if side is None:
        raise missing("side")
    order_type = read.named(params, "type", _Type, BinanceError(-1116, "Invalid orderType."))
    if order_type is None:
        raise missing("type")
    kind = _KINDS.get(order_type)
    if kind is None:
        raise BinanceError(-2010, f"{order_type.value} orders are not supported for this symbol.")
    for name, message in _UNSUPPORTED.items():
        if params.get(name):
            raise BinanceError(-2010, message)
    lifetime = read.named(
        params, "timeInForce", _TimeInForce, BinanceError(-1115, "Invalid timeInForce.")
    )
    quantity = read.amount(params, "quantity")
    quote_quantity = read.amount(params, "quoteOrderQty")
    price = read.amount(params, "price")
    if kind is Kind.MARKET:
        if price is not None:
            raise not_required("price")
        if lifetime is not None:
            raise not_required("timeInForce")
        if quantity is None and quote_quantity is None:
            raise neither_sent("quantity", "quoteOrderQty")
        if quantity is not None and quote_quantity is not None:
            raise not_required("quoteOrderQty")
    else:
        if kind is Kind.LIMIT and lifetime is None:
            raise missing("timeInForce")
        if kind is Kind.POST_ONLY and lifetime is not None:
            raise not_required("timeInForce")
        if quantity is None:
            raise missing("quantity")
        if price is None:
            raise missing("price")
        if quote_quantity is not None:
            raise not_required("quoteOrderQty")
    return OrderRequest(
        symbol=pair.symbol,
        side=Side.BUY if side is _Side.BUY else Side.SELL,
        kind=kind,
        client_id=read.client_id(params, "newClientOrderId") or new_client_id(),
        lifetime=_LIFETIMES[lifetime] if lifetime else Lifetime.GOOD_TILL_CANCELLED,
        price=price,
        quantity=quantity,
        quote_quantity=quote_quantity,
    )


def new_client_id() -> str:
    """A client id for an order or a cancel that came without one: 22 characters, as Binance's."""
    return secrets.token_urlsafe(16)
