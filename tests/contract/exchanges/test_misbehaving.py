"""TC-U: lost answers, errors, limits, a wrong clock. Unknown is not rejected; absent is absent."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest

from aristobot.core.errors import Retryable
from aristobot.core.orders import OrderStatus, Side
from aristobot.exchanges.port import OrderRequest, UnknownOutcome
from tests.contract.exchanges.conftest import Desk

D = Decimal


async def _unknown(desk: Desk, request: OrderRequest) -> UnknownOutcome:
    with pytest.raises(UnknownOutcome) as caught:
        await desk.place(request)
    return caught.value


async def test_tc_u01_answer_lost_after_acceptance(desk: Desk) -> None:
    await desk.exchange.fault("answer_lost")
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert not unknown.was_turned_away
    assert unknown.call is not None
    assert (unknown.call.status, unknown.call.answer) == (None, None)
    found = await desk.found(request)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    fills = await desk.client.fills(found.symbol, found.exchange_order_id)
    assert sum(fill.quantity for fill in fills) == found.executed_quantity


async def test_tc_u02_server_error_without_acceptance(desk: Desk) -> None:
    await desk.exchange.fault("error_5xx", status=503, accepted=False)
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert unknown.call is not None
    assert unknown.call.status == 503
    assert await desk.found(request) is None
    assert await desk.free(desk.venue.quote) == D("10000")


async def test_tc_u03_server_error_after_acceptance(desk: Desk) -> None:
    await desk.exchange.fault("error_5xx", status=502, accepted=True)
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert not unknown.was_turned_away
    found = await desk.found(request)
    assert found is not None
    assert found.status is OrderStatus.FILLED


async def test_tc_u04_a_rate_limit_stops_orders_and_reads(desk: Desk) -> None:
    await desk.exchange.fault("rate_limit", seconds=2)
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert unknown.was_turned_away
    assert 1 <= unknown.retry_after_seconds <= 2
    held = await _unknown(desk, request)
    assert held.call is None  # nothing was sent
    with pytest.raises(Retryable) as read:
        await desk.client.account()
    assert 0 < read.value.after_seconds <= 2
    await asyncio.sleep(held.retry_after_seconds)
    assert await desk.found(request) is None
    assert (await desk.placed(request)).status is OrderStatus.FILLED


async def test_tc_u05_a_ban_stops_everything(desk: Desk) -> None:
    await desk.exchange.fault("ban", seconds=2)
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert unknown.call is not None
    assert unknown.call.status == 418
    assert 1 <= unknown.retry_after_seconds <= 2
    assert (await _unknown(desk, request)).call is None
    await asyncio.sleep(unknown.retry_after_seconds)
    assert (await desk.placed(request)).status is OrderStatus.FILLED


async def test_tc_u06_a_clock_that_jumped(desk: Desk) -> None:
    await desk.exchange.skew(60_000)
    request = desk.order(Side.BUY, quote="1000")
    unknown = await _unknown(desk, request)
    assert unknown.was_turned_away
    assert await desk.found(request) is None
    assert abs(desk.client.now_ms() - time.time() * 1000 - 60_000) < 200
    assert (await desk.placed(request)).status is OrderStatus.FILLED


async def test_tc_u07_an_answer_that_takes_its_time(desk: Desk) -> None:
    await desk.exchange.fault("slow_answer", seconds=1.0)
    request = desk.order(Side.BUY, quote="1000")
    answer = await desk.place(request)
    assert answer.report is not None
    assert answer.call.duration_ms > 900


async def test_tc_u08_a_read_that_fails(desk: Desk) -> None:
    await desk.exchange.fault("error_5xx", path=desk.venue.paths["account"])
    with pytest.raises(Retryable):
        await desk.client.account()
    assert (await desk.client.account()).balances


async def test_tc_u09_a_cancel_whose_answer_is_lost(desk: Desk) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    await desk.placed(request)
    await desk.exchange.fault("answer_lost", path=desk.venue.paths["cancel"])
    with pytest.raises(UnknownOutcome):
        await desk.client.cancel(request.symbol, request.client_order_id)
    found = await desk.found(request)
    assert found is not None
    assert found.status is OrderStatus.CANCELLED
    assert (await desk.client.cancel(request.symbol, request.client_order_id)).report is None


async def test_tc_f01_a_partial_fill(desk: Desk) -> None:
    await desk.exchange.fault("partial_fill", fraction="0.25", seconds=0.5)
    request = desk.order(Side.BUY, quantity="0.04")
    first = await desk.placed(request)
    assert first.status is OrderStatus.PARTIALLY_FILLED
    assert first.executed_quantity == D("0.01")
    assert sum(fill.quantity for fill in first.fills) == D("0.01")
    await asyncio.sleep(1.0)
    later = await desk.found(request)
    assert later is not None
    assert later.status is OrderStatus.FILLED
    fills = await desk.client.fills(request.symbol, later.exchange_order_id)
    assert sum(fill.quantity for fill in fills) == D("0.04")
    assert {fill.trade_id for fill in first.fills} < {fill.trade_id for fill in fills}


async def test_tc_f02_a_rest_that_expires(desk: Desk) -> None:
    await desk.exchange.fault("partial_fill", fraction="0.25", seconds=0.3, rest="expire")
    request = desk.order(Side.BUY, quantity="0.04")
    await desk.placed(request)
    await asyncio.sleep(0.8)
    ended = await desk.found(request)
    assert ended is not None
    assert ended.status is OrderStatus.EXPIRED
    assert ended.executed_quantity == D("0.01")
