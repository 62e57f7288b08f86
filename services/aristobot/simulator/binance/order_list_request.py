"""A Binance order list's parameters as the engine's request (exchange reference 2.7). Pure.

Only one-cancels-other pairs: one leg is a stop loss, the other a limit maker or a take profit.
"""

from __future__ import annotations

from aristobot.core.orders import Side
from aristobot.simulator.binance import params as read
from aristobot.simulator.binance.errors import invalid_value, missing
from aristobot.simulator.binance.order_request import (
    Names,
    OrderType,
    new_client_id,
    priced_order,
    read_side,
    read_type,
)
from aristobot.simulator.orders import ListRequest, OrderRequest

_STOPS = (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
_TARGETS = (OrderType.LIMIT_MAKER, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)


def list_request(params: read.Params) -> ListRequest:
    """The pair asked for, or Binance's error for the first parameter that is wrong."""
    symbol = read.pair(params).symbol
    side = read_side(params)
    quantity = read.amount(params, "quantity")
    if quantity is None:
        raise missing("quantity")
    types = {where: read_type(params, f"{where}Type") for where in ("above", "below")}
    # What sells waits for its target above the market and for its stop below; buying is reversed.
    target_at, stop_at = ("above", "below") if side is Side.SELL else ("below", "above")
    if types[stop_at] not in _STOPS or types[target_at] not in _TARGETS:
        wrong = stop_at if types[stop_at] not in _STOPS else target_at
        raise invalid_value(f"{wrong}Type")

    def leg(where: str) -> OrderRequest:
        return priced_order(
            params, _names(where), types[where], symbol=symbol, side=side, quantity=quantity
        )

    return ListRequest(
        client_id=read.client_id(params, "listClientOrderId") or new_client_id(),
        stop=leg(stop_at),
        target=leg(target_at),
    )


def _names(where: str) -> Names:
    return Names(
        price=f"{where}Price",
        stop_price=f"{where}StopPrice",
        lifetime=f"{where}TimeInForce",
        client_id=f"{where}ClientOrderId",
        trailing=f"{where}TrailingDelta",
        iceberg=f"{where}IcebergQty",
    )
