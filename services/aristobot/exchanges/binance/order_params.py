"""The parameters of new orders and order lists (exchange reference 2.6, 2.7).

Pure. An absurd request is the caller's bug and raises `ValueError` before anything is sent. What
the symbol's filters say of the amounts is not looked at here: sizing has done that.
"""

from __future__ import annotations

from decimal import Decimal

from aristobot.core.orders import OrderType, Side
from aristobot.exchanges.port import OrderListRequest, OrderRequest

ORDER_WINDOW_MS = 3000
_WAITING = (OrderType.STOP_LOSS, OrderType.TAKE_PROFIT)
_PRICED = (OrderType.LIMIT, OrderType.LIMIT_MAKER)


def order_params(request: OrderRequest) -> dict[str, str]:
    """The parameters of a new order."""
    params = {
        "symbol": request.symbol,
        "side": request.side.value.upper(),
        "type": request.type.value.upper(),
    }
    _check_prices(request)
    if request.type is OrderType.LIMIT:
        params["timeInForce"] = "GTC"
    if request.quantity is not None:
        params["quantity"] = plain(request.quantity)
    if request.quote_quantity is not None:
        params["quoteOrderQty"] = plain(request.quote_quantity)
    if request.price is not None:
        params["price"] = plain(request.price)
    if request.stop_price is not None:
        params["stopPrice"] = plain(request.stop_price)
    params["newClientOrderId"] = request.client_order_id
    params["newOrderRespType"] = "FULL"
    params["recvWindow"] = str(ORDER_WINDOW_MS)
    return params


def list_params(request: OrderListRequest) -> dict[str, str]:
    """The parameters of a new one-cancels-other pair."""
    stop, target = request.stop, request.target
    _check_pair(request)
    # A sale's target is above the market and its stop below; a purchase's the other way round.
    above, below = (target, stop) if stop.side is Side.SELL else (stop, target)
    return {
        "symbol": request.symbol,
        "listClientOrderId": request.list_client_id,
        "side": stop.side.value.upper(),
        "quantity": plain(_known(stop.quantity)),
        **_leg("above", above),
        **_leg("below", below),
        "newOrderRespType": "RESULT",
        "recvWindow": str(ORDER_WINDOW_MS),
    }


def _leg(where: str, leg: OrderRequest) -> dict[str, str]:
    params = {f"{where}Type": leg.type.value.upper()}
    if leg.price is not None:
        params[f"{where}Price"] = plain(leg.price)
    if leg.stop_price is not None:
        params[f"{where}StopPrice"] = plain(leg.stop_price)
    params[f"{where}ClientOrderId"] = leg.client_order_id
    return params


def _check_prices(request: OrderRequest) -> None:
    kind = request.type.value
    for name, amount, types in (
        ("price", request.price, _PRICED),
        ("stop price", request.stop_price, _WAITING),
    ):
        if (amount is not None) != (request.type in types):
            verb = "needs a" if amount is None else "has no"
            raise ValueError(f"A {kind} order {verb} {name}.")
    if (request.quantity is None) == (request.quote_quantity is None):
        raise ValueError("An order has exactly one of the two quantities.")
    if request.quantity is None and request.type is not OrderType.MARKET:
        raise ValueError(f"A {kind} order has a base quantity.")


def _check_pair(request: OrderListRequest) -> None:
    stop, target = request.stop, request.target
    for leg in (stop, target):
        _check_prices(leg)
    if stop.type is not OrderType.STOP_LOSS:
        raise ValueError("The stop of a pair is a stop_loss order.")
    if target.type not in (OrderType.LIMIT_MAKER, OrderType.TAKE_PROFIT):
        raise ValueError("The target of a pair is a limit_maker or a take_profit order.")
    for name in ("symbol", "side", "quantity"):
        if getattr(stop, name) != getattr(target, name):
            raise ValueError(f"The legs of a pair differ in their {name}.")
    if stop.symbol != request.symbol:
        raise ValueError("The legs of a pair are of another symbol.")
    ids = {request.list_client_id, stop.client_order_id, target.client_order_id}
    if len(ids) != 3:
        raise ValueError("A pair and its legs need three different client ids.")
    low, high = _known(stop.stop_price), _known(target.price or target.stop_price)
    if stop.side is Side.BUY:
        low, high = high, low
    if low >= high:
        # No market price lies between them: the exchange could only refuse it.
        raise ValueError("The stop and the target of a pair are the wrong way round.")


def _known(amount: Decimal | None) -> Decimal:
    if amount is None:
        raise ValueError("An amount of the pair is missing.")
    return amount


def plain(amount: Decimal) -> str:
    """A positive amount without exponent and without trailing zeros (they count as precision)."""
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"{amount} is not an amount that can be ordered.")
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
