"""New orders and pairs as Binance's parameters; absurd ones never leave."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.binance.order_params import list_params, order_params
from aristobot.exchanges.port import OrderListRequest, OrderRequest, UnknownOutcome
from tests.unit.exchanges.binance.conftest import Reply, ScriptedVenue, payload_text

D = Decimal
STAMP = 1_700_000_000_000


def _order(kind: OrderType, **fields: Any) -> OrderRequest:
    common: dict[str, Any] = {"quantity": D("5.0")}
    return OrderRequest("LTCBTC", Side.SELL, kind, f"ar-{kind.value}", **{**common, **fields})


def _pair(side: Side = Side.SELL, **target: Any) -> OrderListRequest:
    low, high = D("1.0"), D("3.00")
    stop = OrderRequest(
        "LTCBTC", side, OrderType.STOP_LOSS, "ar-stop", quantity=D(5),
        stop_price=low if side is Side.SELL else high,
    )  # fmt: skip
    fields: dict[str, Any] = {"price": high if side is Side.SELL else low, **target}
    kind = fields.pop("type", OrderType.LIMIT_MAKER)
    aim = OrderRequest("LTCBTC", side, kind, "ar-target", quantity=D(5), **fields)
    return OrderListRequest("LTCBTC", "ar-list", stop, aim)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (_order(OrderType.STOP_LOSS, stop_price=D("1.50")), {"stopPrice": "1.5"}),
        (_order(OrderType.TAKE_PROFIT, stop_price=D("2")), {"stopPrice": "2"}),
        (_order(OrderType.LIMIT_MAKER, price=D("2")), {"price": "2"}),
        (_order(OrderType.LIMIT, price=D("2")), {"price": "2", "timeInForce": "GTC"}),
    ],
)
def test_orders_that_wait(request_: OrderRequest, expected: dict[str, str]) -> None:
    assert order_params(request_) == {
        "symbol": "LTCBTC",
        "side": "SELL",
        "type": request_.type.value.upper(),
        "quantity": "5",
        **expected,
        "newClientOrderId": request_.client_order_id,
        "newOrderRespType": "FULL",
        "recvWindow": "3000",
    }


@pytest.mark.parametrize(
    "request_",
    [
        _order(OrderType.STOP_LOSS),
        _order(OrderType.STOP_LOSS, stop_price=D(1), price=D(1)),
        _order(OrderType.STOP_LOSS, stop_price=D(1), quantity=None, quote_quantity=D(5)),
        _order(OrderType.LIMIT_MAKER),
        _order(OrderType.LIMIT_MAKER, price=D(1), stop_price=D(1)),
        _order(OrderType.MARKET, stop_price=D(1)),
        _order(OrderType.LIMIT, price=D(1), stop_price=D(1)),
        _order(OrderType.TAKE_PROFIT, stop_price=D("-1")),
        _order(OrderType.TAKE_PROFIT, stop_price=D("NaN")),
    ],
)
def test_absurd_orders(request_: OrderRequest) -> None:
    with pytest.raises(ValueError, match=r"."):
        order_params(request_)


def test_a_sale_s_target_is_above_and_a_purchase_s_below() -> None:
    common = {
        "symbol": "LTCBTC",
        "listClientOrderId": "ar-list",
        "quantity": "5",
        "newOrderRespType": "RESULT",
        "recvWindow": "3000",
    }
    assert list_params(_pair()) == {
        **common,
        "side": "SELL",
        "aboveType": "LIMIT_MAKER",
        "abovePrice": "3",
        "aboveClientOrderId": "ar-target",
        "belowType": "STOP_LOSS",
        "belowStopPrice": "1",
        "belowClientOrderId": "ar-stop",
    }
    bought = _pair(Side.BUY, type=OrderType.TAKE_PROFIT, price=None, stop_price=D(1))
    assert list_params(bought) == {
        **common,
        "side": "BUY",
        "aboveType": "STOP_LOSS",
        "aboveStopPrice": "3",
        "aboveClientOrderId": "ar-stop",
        "belowType": "TAKE_PROFIT",
        "belowStopPrice": "1",
        "belowClientOrderId": "ar-target",
    }


GOOD = _pair()


@pytest.mark.parametrize(
    "request_",
    [
        _pair(price=D(1)),
        _pair(Side.BUY, price=D(4)),
        _pair(type=OrderType.LIMIT),
        _pair(type=OrderType.STOP_LOSS, price=None, stop_price=D(3)),
        replace(GOOD, stop=replace(GOOD.target, client_order_id="ar-x")),
        replace(GOOD, stop=replace(GOOD.stop, quantity=D(4))),
        replace(GOOD, stop=replace(GOOD.stop, side=Side.BUY)),
        replace(GOOD, stop=replace(GOOD.stop, symbol="ETHBTC")),
        replace(GOOD, symbol="ETHBTC"),
        replace(GOOD, list_client_id="ar-stop"),
        replace(GOOD, stop=replace(GOOD.stop, client_order_id="ar-target")),
    ],
)
def test_absurd_pairs(request_: OrderListRequest) -> None:
    with pytest.raises(ValueError, match=r"."):
        list_params(request_)


async def test_a_placed_pair_on_the_wire(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(Reply(payload_text("list_placed")))
    answer = await client.place_list(GOOD, timestamp_ms=STAMP)
    assert [report.client_order_id for report in answer.reports] == ["ar-stop", "ar-target"]
    assert {report.status for report in answer.reports} == {OrderStatus.NEW}
    (request,) = venue.requests
    assert (request.method, request.target) == ("POST", "/api/v3/orderList/oco")
    sent = dict(parse_qsl(request.body))
    assert len(sent.pop("signature")) == 64
    assert sent == {**list_params(GOOD), "timestamp": str(STAMP)}
    assert answer.call.params["signature"] == "***"


@pytest.mark.parametrize("legs", [[], [0], [0, 0], [0, 1, 1]])
async def test_an_answer_about_other_legs_is_an_unknown_outcome(
    venue: ScriptedVenue, client: BinanceClient, legs: list[int]
) -> None:
    body = json.loads(payload_text("list_placed"))
    body["orderReports"] = [body["orderReports"][index] for index in legs]
    venue.will(Reply(json.dumps(body)))
    with pytest.raises(UnknownOutcome):
        await client.place_list(GOOD, timestamp_ms=STAMP)
