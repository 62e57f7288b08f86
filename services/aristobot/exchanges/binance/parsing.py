"""Binance's JSON turned into the port's values: orders, fills, balances, prices, stream events.

Pure; `rules` does the same for `exchangeInfo`. Whatever does not have the documented shape raises
`Unreadable` (the caller decides what that means: after a placed order, an unknown outcome). Shapes
and states: exchange reference 1.2, 1.3, 2.5, 2.6 and 3.3. Deliberately strict about what an order
did (status, amounts) and deaf to everything that the port has no value for.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import (
    Balance,
    BalancesUpdated,
    Fill,
    OrderReport,
    OrderUpdated,
)

P = ParamSpec("P")
R = TypeVar("R")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_STATUSES: Mapping[str, OrderStatus] = {
    "NEW": OrderStatus.NEW,
    "PENDING_NEW": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}

# The last two are never ours, but orders that the user placed by hand are reported too: they are
# told as what they execute as (2.6), with their stop price.
_TYPES: Mapping[str, OrderType] = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT_MAKER,
    "STOP_LOSS": OrderType.STOP_LOSS,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "STOP_LOSS_LIMIT": OrderType.LIMIT,
    "TAKE_PROFIT_LIMIT": OrderType.LIMIT,
}

_SIDES: Mapping[str, Side] = {"BUY": Side.BUY, "SELL": Side.SELL}


class Unreadable(ValueError):
    """The exchange's words do not have the documented shape."""


def reads(parse: Callable[P, R]) -> Callable[P, R]:
    """Let a parser fail in one way: `Unreadable`, whatever the input was."""

    @functools.wraps(parse)
    def parse_or_unreadable(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return parse(*args, **kwargs)
        except Unreadable:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise Unreadable(f"{parse.__name__} could not read it ({reason})") from error

    return parse_or_unreadable


@reads
def loads(text: str) -> Any:
    """JSON with exact numbers."""
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error


def error_of(text: str) -> tuple[int | None, str]:
    """Code and message of an error body; `(None, "")` when it is no error object of Binance's."""
    try:
        body = loads(text)
        return _integer(body["code"]), str(body["msg"])
    except (Unreadable, LookupError, TypeError):
        return None, ""


@reads
def server_time_ms(body: Any) -> int:
    return _integer(body["serverTime"])


@reads
def price(body: Any) -> Decimal:
    value = decimal(body["price"])
    if value <= 0:
        raise Unreadable(f"a price of {value}")
    return value


@reads
def balances(body: Any) -> dict[str, Balance]:
    """The balances of `GET /account`, without the zero ones."""
    rows = (
        Balance(_text(b["asset"]), decimal(b["free"]), decimal(b["locked"]))
        for b in body["balances"]
    )
    return {row.asset: row for row in rows if row.free or row.locked}


@reads
def placed_order(body: Any) -> OrderReport:
    """The FULL reply to a placed order, with the fills it caused at once."""
    at = moment(body["transactTime"])
    fills = tuple(
        Fill(
            trade_id=str(_integer(fill["tradeId"])),
            price=decimal(fill["price"]),
            quantity=decimal(fill["qty"]),
            fee=decimal(fill["commission"]),
            fee_asset=_text(fill["commissionAsset"]),
            at=at,
            is_maker=False,  # what fills on arrival takes
        )
        for fill in body["fills"]
    )
    return _report(body, client_order_id=body["clientOrderId"], updated_at=at, fills=fills)


@reads
def placed_list(body: Any) -> tuple[OrderReport, ...]:
    """The legs in the RESULT reply to a placed order list (2.7); none has filled yet."""
    return tuple(
        _report(leg, client_order_id=leg["clientOrderId"], updated_at=moment(leg["transactTime"]))
        for leg in _rows(body["orderReports"])
    )


@reads
def queried_order(body: Any) -> OrderReport:
    """An order as `GET /order` and `GET /openOrders` show it; fills are read elsewhere."""
    updated_at = moment(body["updateTime"])
    return _report(body, client_order_id=body["clientOrderId"], updated_at=updated_at)


@reads
def cancelled(body: Any, client_order_id: str) -> OrderReport:
    """The reply to a cancel; for the leg of an order list it is the whole list's."""
    if "orderReports" not in body:
        return cancelled_order(body)
    (leg,) = (r for r in body["orderReports"] if r["origClientOrderId"] == client_order_id)
    return cancelled_order(leg)


@reads
def cancelled_order(body: Any) -> OrderReport:
    """One cancelled order: its own id is `origClientOrderId` (2.5)."""
    updated_at = moment(body["transactTime"])
    return _report(body, client_order_id=body["origClientOrderId"], updated_at=updated_at)


@reads
def open_orders(body: Any) -> tuple[OrderReport, ...]:
    return tuple(queried_order(order) for order in _rows(body))


@reads
def trades(body: Any) -> tuple[Fill, ...]:
    """The rows of `GET /myTrades`."""
    return tuple(
        Fill(
            trade_id=str(_integer(row["id"])),
            price=decimal(row["price"]),
            quantity=decimal(row["qty"]),
            fee=decimal(row["commission"]),
            fee_asset=_text(row["commissionAsset"]),
            at=moment(row["time"]),
            is_maker=bool(row["isMaker"]),
        )
        for row in _rows(body)
    )


@reads
def stream_event(event: Any) -> OrderUpdated | BalancesUpdated | None:
    """An event of the private stream; None for the kinds that the port has no value for.

    `balanceUpdate` (a deposit's delta) is one of them: the absolute balances follow it.
    """
    kind = event["e"]
    if kind == "executionReport":
        return OrderUpdated(_execution_report(event))
    if kind == "outboundAccountPosition":
        rows = tuple(
            Balance(_text(b["a"]), decimal(b["f"]), decimal(b["l"])) for b in _rows(event["B"])
        )
        return BalancesUpdated(rows, at=moment(event["u"]))
    return None


def _execution_report(event: Mapping[str, Any]) -> OrderReport:
    at = moment(event["T"])
    fills: tuple[Fill, ...] = ()
    if event["x"] == "TRADE":
        fee_asset = event["N"]
        fill = Fill(
            trade_id=str(_integer(event["t"])),
            price=decimal(event["L"]),
            quantity=decimal(event["l"]),
            fee=decimal(event["n"] or "0"),
            fee_asset=None if fee_asset is None else _text(fee_asset),
            at=at,
            is_maker=bool(event["m"]),
        )
        fills = (fill,)
    return OrderReport(
        symbol=_text(event["s"]),
        # On a cancel the order's own id is in C, the cancel request's in c (3.3).
        client_order_id=_text(event["C"] or event["c"]),
        exchange_order_id=str(_integer(event["i"])),
        side=_SIDES[event["S"]],
        type=_TYPES[event["o"]],
        status=_STATUSES[event["X"]],
        quantity=decimal(event["q"]),
        executed_quantity=decimal(event["z"]),
        executed_quote=decimal(event["Z"]),
        price=_price_or_none(event["p"]),
        updated_at=at,
        fills=fills,
        stop_price=_price_or_none(event["P"]),
    )


def _report(
    body: Mapping[str, Any],
    *,
    client_order_id: object,
    updated_at: datetime,
    fills: tuple[Fill, ...] = (),
) -> OrderReport:
    return OrderReport(
        symbol=_text(body["symbol"]),
        client_order_id=_text(client_order_id),
        exchange_order_id=str(_integer(body["orderId"])),
        side=_SIDES[body["side"]],
        type=_TYPES[body["type"]],
        status=_STATUSES[body["status"]],
        quantity=decimal(body["origQty"]),
        executed_quantity=decimal(body["executedQty"]),
        executed_quote=decimal(body["cummulativeQuoteQty"]),
        price=_price_or_none(body["price"]),
        updated_at=updated_at,
        fills=fills,
        # Left out of the replies to orders that have none.
        stop_price=_price_or_none(body.get("stopPrice", "0")),
    )


def decimal(value: object) -> Decimal:
    """A finite number from a decimal string (or an exact JSON number)."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Unreadable(f"{value!r} is no decimal")
    number = Decimal(value)
    if not number.is_finite():
        raise Unreadable(f"{value!r} is not finite")
    return number


def moment(value: object) -> datetime:
    """UTC time from epoch milliseconds, exactly."""
    return _EPOCH + timedelta(milliseconds=_integer(value))


def _price_or_none(value: object) -> Decimal | None:
    """Market orders carry a price of zero."""
    return decimal(value) or None


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable(f"{value!r} is no integer")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Unreadable(f"{value!r} is no text")
    return value


def _rows(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable("a list was expected")
    return value
