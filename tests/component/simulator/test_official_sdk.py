"""Binance's own Python SDK, generated from its API's description, trades on the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import BadRequestError
from binance_sdk_spot.rest_api.models import (
    NewOrderSideEnum,
    NewOrderTimeInForceEnum,
    NewOrderTypeEnum,
    OrderListOcoAboveTypeEnum,
    OrderListOcoBelowTimeInForceEnum,
    OrderListOcoBelowTypeEnum,
    OrderListOcoSideEnum,
)
from binance_sdk_spot.spot import Spot
from binance_sdk_spot.websocket_api.models import (
    ExecutionReport,
    ListStatus,
    OrderCancelResponseResult,
)

from tests.component.simulator.conftest import KEY, SECRET, Venue
from tests.component.simulator.test_user_stream import opened

SELL = NewOrderSideEnum.SELL


def _check_known(answer: Any) -> None:
    """No field that the SDK has not heard of: the simulator invents none."""
    for each in answer if isinstance(answer, list) else [answer]:
        unknown = set(getattr(each, "additional_properties", {}))
        # Binance sends it, but the SDK's model of a cancelled list's order has forgotten it.
        assert unknown <= {"selfTradePreventionMode"}, each
        for name in ("orders", "order_reports"):
            _check_known(getattr(each, name, None) or [])


class Sdk:
    """The SDK blocks, so each call runs in a thread; answers are its models, validated by it."""

    def __init__(self, venue: Venue) -> None:
        self.rest = Spot(
            config_rest_api=ConfigurationRestAPI(
                api_key=KEY, api_secret=SECRET, base_path=venue.base, timeout=5000, retries=0
            )
        ).rest_api

    async def __call__(self, name: str, **params: Any) -> Any:
        method: Callable[..., Any] = getattr(self.rest, name)

        def run() -> Any:
            return method(**params).data()

        async with asyncio.timeout(10):
            answer = await asyncio.to_thread(run)
        _check_known(answer)
        return answer

    async def order(self, client_id: str) -> Any:
        return await self("get_order", symbol="BTCUSDT", orig_client_order_id=client_id)

    async def pair(self, **changes: Any) -> Any:
        params = {
            "symbol": "BTCUSDT", "side": OrderListOcoSideEnum.SELL, "quantity": 0.1,
            "list_client_order_id": "l", "above_client_order_id": "t",
            "below_client_order_id": "s",
            "above_type": OrderListOcoAboveTypeEnum.LIMIT_MAKER, "above_price": 110000.0,
            "below_type": OrderListOcoBelowTypeEnum.STOP_LOSS, "below_stop_price": 90000.0,
        }  # fmt: skip
        return await self("order_list_oco", **{**params, **changes})


@pytest.fixture
def sdk(venue: Venue) -> Sdk:
    return Sdk(venue)


async def test_stop_and_target_orders(venue: Venue, sdk: Sdk) -> None:
    common = {"symbol": "BTCUSDT", "side": SELL, "quantity": 0.1}
    good_till_cancelled = NewOrderTimeInForceEnum.GTC
    await sdk(
        "new_order", type=NewOrderTypeEnum.STOP_LOSS, stop_price=95000.0,
        new_client_order_id="stop", **common,
    )  # fmt: skip
    await sdk(
        "new_order", type=NewOrderTypeEnum.STOP_LOSS_LIMIT, stop_price=95000.0, price=95500.0,
        time_in_force=good_till_cancelled, new_client_order_id="stop-limit", **common,
    )  # fmt: skip
    await sdk(
        "new_order", type=NewOrderTypeEnum.TAKE_PROFIT, stop_price=105000.0,
        new_client_order_id="target", **common,
    )  # fmt: skip
    stop = await sdk.order("stop")
    assert (stop.type, stop.stop_price, stop.is_working) == ("STOP_LOSS", "95000.00000000", False)
    await venue.price("95000")
    assert (await sdk.order("stop")).status == "FILLED"
    limit = await sdk.order("stop-limit")
    assert (limit.status, limit.is_working) == ("NEW", True)
    await venue.price("105000")
    assert (await sdk.order("stop-limit")).status == "FILLED"
    assert (await sdk.order("target")).status == "FILLED"
    with pytest.raises(BadRequestError, match="would trigger immediately"):
        await sdk("new_order", type=NewOrderTypeEnum.STOP_LOSS, stop_price=106000.0, **common)
    with pytest.raises(BadRequestError, match="immediately match and take"):
        await sdk("new_order", type=NewOrderTypeEnum.LIMIT_MAKER, price=104000.0, **common)


async def test_a_pair_is_placed_read_and_cancelled(sdk: Sdk) -> None:
    made = await sdk.pair()
    assert [leg.client_order_id for leg in made.orders] == ["s", "t"]
    assert (made.contingency_type, made.list_order_status) == ("OCO", "EXECUTING")
    (shown,) = await sdk("open_order_list")
    assert shown.list_client_order_id == "l"
    by_name = await sdk("get_order_list", orig_client_order_id="l")
    assert by_name.order_list_id == made.order_list_id
    done = await sdk("delete_order_list", symbol="BTCUSDT", list_client_order_id="l")
    assert [report.status for report in done.order_reports] == ["CANCELED", "CANCELED"]
    assert await sdk("open_order_list") == []
    (past,) = await sdk("all_order_list")
    assert past.list_order_status == "ALL_DONE"


@pytest.mark.parametrize(("price", "won", "lost"), [("89000", "s", "t"), ("111000", "t", "s")])
async def test_one_leg_ends_the_other(
    venue: Venue, sdk: Sdk, price: str, won: str, lost: str
) -> None:
    await sdk.pair()
    await venue.price(price)
    assert (await sdk.order(won)).status == "FILLED"
    loser = await sdk.order(lost)
    assert (loser.status, loser.expiry_reason) == ("EXPIRED", "OCO_TRIGGER")
    trades = await sdk("my_trades", symbol="BTCUSDT")
    assert [trade.qty for trade in trades] == ["0.10000000"]


async def test_pairs_that_take_profit_at_the_market_or_stop_at_a_limit(
    venue: Venue, sdk: Sdk
) -> None:
    await sdk.pair(
        above_type=OrderListOcoAboveTypeEnum.TAKE_PROFIT, above_price=None,
        above_stop_price=110000.0, below_type=OrderListOcoBelowTypeEnum.STOP_LOSS_LIMIT,
        below_price=89900.0, below_time_in_force=OrderListOcoBelowTimeInForceEnum.GTC,
    )  # fmt: skip
    await venue.price("90000")
    assert (await sdk.order("s")).executed_qty == "0.10000000"
    assert (await sdk.order("t")).status == "EXPIRED"
    with pytest.raises(BadRequestError, match="relationship of the prices"):
        await sdk.pair()


async def test_every_word_of_the_user_stream_is_one_the_sdk_knows(venue: Venue) -> None:
    events = []
    async with opened(venue) as stream:
        await stream.subscribe()
        pair = {
            "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER",
            "abovePrice": "110000", "belowType": "STOP_LOSS", "belowStopPrice": "90000",
        }  # fmt: skip
        for price in ("89000", "111000"):
            await venue.signed("POST", "/api/v3/orderList/oco", **pair)
            await venue.price(price)
            await venue.price("100000")
        made = (await venue.signed("POST", "/api/v3/orderList/oco", **pair)).json()
        leg = {"symbol": "BTCUSDT", "orderId": made["orders"][0]["orderId"]}
        cancelled = (await venue.signed("DELETE", "/api/v3/order", **leg)).json()
        while sum(event["e"] == "listStatus" for event in events) < 6:
            events.append((await stream.receive())["event"])
    models = {"executionReport": ExecutionReport, "listStatus": ListStatus}
    for event in events:
        if event["e"] in models:
            read = models[event["e"]].from_dict(event)
            assert read is not None
            assert set(read.additional_properties) == {"e"}, event  # no field of our own making
    answer = OrderCancelResponseResult.from_dict(cancelled)
    assert answer is not None
    assert answer.additional_properties == {}
    assert [report.status for report in answer.order_reports or ()] == ["CANCELED", "CANCELED"]
