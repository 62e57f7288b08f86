"""TC-P: placing, looking up, cancelling when all goes well or is plainly refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import ExchangeRefused, UnknownOutcome
from tests.contract.exchanges.conftest import Desk

D = Decimal


async def test_tc_p01_market_buy_by_quote_amount(desk: Desk) -> None:
    request = desk.order(Side.BUY, quote="1000")
    answer = await desk.place(request)
    report = answer.report
    assert report is not None
    assert report.status is OrderStatus.FILLED
    assert (report.side, report.type, report.price) == (Side.BUY, OrderType.MARKET, None)
    assert report.client_order_id == request.client_order_id
    assert report.quantity == report.executed_quantity > 0
    assert D("900") < report.executed_quote <= D("1000")
    assert sum(fill.quantity for fill in report.fills) == report.executed_quantity
    assert sum(fill.quantity * fill.price for fill in report.fills) == report.executed_quote
    assert all(fill.fee > 0 and fill.fee_asset == desk.venue.base for fill in report.fills)
    fees = sum(fill.fee for fill in report.fills)
    assert await desk.free(desk.venue.quote) == D("10000") - report.executed_quote
    assert await desk.free(desk.venue.base) == D("1") + report.executed_quantity - fees


async def test_tc_p02_market_sell_by_base_amount(desk: Desk) -> None:
    report = await desk.placed(desk.order(Side.SELL, quantity="0.5"))
    assert report.status is OrderStatus.FILLED
    assert report.executed_quantity == D("0.5")
    assert all(fill.fee_asset == desk.venue.quote for fill in report.fills)
    fees = sum(fill.fee for fill in report.fills)
    assert await desk.free(desk.venue.base) == D("0.5")
    assert await desk.free(desk.venue.quote) == D("10000") + report.executed_quote - fees


async def test_tc_p03_a_limit_order_rests_and_locks(desk: Desk) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    report = await desk.placed(request)
    assert report.status is OrderStatus.NEW
    assert (report.price, report.quantity) == (D("40000"), D("0.01"))
    assert (report.executed_quantity, report.fills) == (D(0), ())
    (resting,) = await desk.client.open_orders()
    assert resting.client_order_id == request.client_order_id
    balance = (await desk.client.account()).balances[desk.venue.quote]
    assert (balance.free, balance.locked) == (D("9600"), D("400"))


async def test_tc_p04_a_limit_order_that_crosses_is_filled(desk: Desk) -> None:
    report = await desk.placed(desk.order(Side.BUY, quantity="0.01", price="60000"))
    assert report.status is OrderStatus.FILLED
    assert report.executed_quote < D("600")
    assert await desk.client.open_orders() == ()


async def test_tc_p05_a_look_up_says_what_placing_said(desk: Desk) -> None:
    request = desk.order(Side.BUY, quote="1000")
    placed = await desk.placed(request)
    found = await desk.found(request)
    assert found is not None
    for name in ("status", "exchange_order_id", "executed_quantity", "executed_quote", "side"):
        assert getattr(found, name) == getattr(placed, name)
    fills = await desk.client.fills(request.symbol, placed.exchange_order_id)
    assert {(f.trade_id, f.price, f.quantity, f.fee, f.fee_asset) for f in fills} == {
        (f.trade_id, f.price, f.quantity, f.fee, f.fee_asset) for f in placed.fills
    }


async def test_tc_p06_an_unknown_order(desk: Desk) -> None:
    answer = await desk.client.order(desk.venue.symbol, "never-placed")
    assert answer.report is None
    assert answer.call.answer is not None


async def test_tc_p07_insufficient_balance(desk: Desk) -> None:
    request = desk.order(Side.BUY, quote="10001")
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place(request)
    assert caught.value.code == desk.venue.refusals["funds"]
    assert caught.value.call is not None
    assert await desk.found(request) is None


@pytest.mark.parametrize(
    ("case", "quantity", "quote"),
    [("notional", None, "1"), ("notional", "0.00001", None), ("step", "0.010000001", None)],
)
async def test_tc_p08_against_the_filters(
    desk: Desk, case: str, quantity: str | None, quote: str | None
) -> None:
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place(desk.order(Side.BUY, quantity=quantity, quote=quote))
    assert caught.value.code in {desk.venue.refusals[case], "-1111"}
    assert await desk.free(desk.venue.quote) == D("10000")


async def test_tc_p09_an_absent_pair(desk: Desk) -> None:
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place(desk.order(Side.BUY, quote="20", symbol=desk.venue.absent_symbol))
    assert caught.value.code == desk.venue.refusals["symbol"]


async def test_tc_p10_a_used_client_id_is_no_rejection(desk: Desk) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    first = await desk.placed(request)
    with pytest.raises(UnknownOutcome):
        await desk.place(request)
    found = await desk.found(request)
    assert found is not None
    assert found.exchange_order_id == first.exchange_order_id
    assert len(await desk.client.open_orders()) == 1


async def test_tc_p11_an_order_older_than_the_window_is_not_taken(desk: Desk) -> None:
    request = desk.order(Side.BUY, quote="20")
    stale = desk.client.now_ms() - desk.client.order_window_ms - 50
    with pytest.raises(UnknownOutcome) as caught:
        await desk.client.place(request, timestamp_ms=stale)
    assert caught.value.was_turned_away
    assert await desk.found(request) is None


async def test_tc_c01_cancelling_unlocks(desk: Desk) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    placed = await desk.placed(request)
    cancelled = (await desk.client.cancel(request.symbol, request.client_order_id)).report
    assert cancelled is not None
    assert cancelled.status is OrderStatus.CANCELLED
    assert cancelled.client_order_id == request.client_order_id
    assert cancelled.exchange_order_id == placed.exchange_order_id
    assert await desk.free(desk.venue.quote) == D("10000")
    found = await desk.found(request)
    assert found is not None
    assert found.status is OrderStatus.CANCELLED
    assert found.client_order_id == request.client_order_id


async def test_tc_c02_nothing_to_cancel(desk: Desk) -> None:
    assert (await desk.client.cancel(desk.venue.symbol, "never-placed")).report is None
    request = desk.order(Side.BUY, quote="20")
    await desk.placed(request)
    assert (await desk.client.cancel(request.symbol, request.client_order_id)).report is None
