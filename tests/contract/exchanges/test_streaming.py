"""TC-S: the private stream tells what happened, and says when it could not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TypeVar

import pytest
import pytest_asyncio

from aristobot.core.orders import OrderStatus, Side
from aristobot.exchanges.port import (
    Balance,
    BalancesUpdated,
    ExchangeClient,
    OrderReport,
    OrderUpdated,
    StreamConnected,
    StreamEvent,
    StreamLost,
)
from tests.contract.exchanges.conftest import Desk, MakeDesk

D = Decimal
E = TypeVar("E", bound=StreamEvent)


class Listener:
    """Reads the stream in a task of its own, and waits for what a case expects."""

    def __init__(self, client: ExchangeClient) -> None:
        self._events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        self._task = asyncio.create_task(self._listen(client))

    async def _listen(self, client: ExchangeClient) -> None:
        async for event in client.stream():
            self._events.put_nowait(event)

    async def next(self, kind: type[E], within: float = 10) -> E:
        """The next event of a kind; others in between are passed over."""
        async with asyncio.timeout(within):
            while True:
                event = await self._events.get()
                if isinstance(event, kind):
                    return event

    async def next_of(self, client_order_id: str, status: OrderStatus) -> OrderReport:
        """The next report of an order that has reached a status."""
        while True:
            report = (await self.next(OrderUpdated)).report
            if report.client_order_id == client_order_id and report.status is status:
                return report

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=5)


@pytest_asyncio.fixture
async def listener(desk: Desk) -> AsyncIterator[Listener]:
    made = Listener(desk.client)
    await made.next(StreamConnected)
    yield made
    await made.stop()


async def test_tc_s01_a_filled_order(desk: Desk, listener: Listener) -> None:
    request = desk.order(Side.BUY, quote="1000")
    placed = await desk.placed(request)
    report = await listener.next_of(request.client_order_id, OrderStatus.FILLED)
    assert report.exchange_order_id == placed.exchange_order_id
    assert report.executed_quantity == placed.executed_quantity
    assert report.executed_quote == placed.executed_quote
    (fill,) = report.fills
    known = {placed_fill.trade_id: placed_fill for placed_fill in placed.fills}
    same = known[fill.trade_id]
    assert (fill.price, fill.quantity) == (same.price, same.quantity)
    assert (fill.fee, fill.fee_asset) == (same.fee, same.fee_asset)


async def test_tc_s02_balances_after_a_fill(desk: Desk, listener: Listener) -> None:
    before = await desk.client.account()
    placed = await desk.placed(desk.order(Side.BUY, quote="1000"))
    while True:
        update = await listener.next(BalancesUpdated)
        changed = {balance.asset: balance for balance in update.balances}
        quote = changed.get(desk.venue.quote)
        if quote == Balance(desk.venue.quote, D("10000") - placed.executed_quote, D(0)):
            break
    assert before.at is not None
    assert update.at >= before.at
    account = await desk.client.account()
    assert account.balances[desk.venue.quote] == quote


async def test_tc_s03_a_resting_and_cancelled_order(desk: Desk, listener: Listener) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    await desk.placed(request)
    resting = await listener.next_of(request.client_order_id, OrderStatus.NEW)
    assert resting.price == D("40000")
    await desk.client.cancel(request.symbol, request.client_order_id)
    cancelled = await listener.next_of(request.client_order_id, OrderStatus.CANCELLED)
    assert cancelled.exchange_order_id == resting.exchange_order_id


async def test_tc_s04_a_resting_order_that_the_price_reaches(
    desk: Desk, listener: Listener
) -> None:
    request = desk.order(Side.BUY, quantity="0.01", price="40000")
    await desk.placed(request)
    await desk.exchange.set_price(desk.venue.symbol, "39000")
    report = await listener.next_of(request.client_order_id, OrderStatus.FILLED)
    assert report.executed_quote <= D("400")
    assert report.fills[0].is_maker


async def test_tc_s05_a_late_fill(desk: Desk, listener: Listener) -> None:
    await desk.exchange.fault("late_fill", seconds=0.5)
    request = desk.order(Side.BUY, quantity="0.01")
    placed = await desk.placed(request)
    assert (placed.status, placed.fills) == (OrderStatus.NEW, ())
    report = await listener.next_of(request.client_order_id, OrderStatus.FILLED)
    assert report.executed_quantity == D("0.01")


async def test_tc_s06_partial_fills_add_up(desk: Desk, listener: Listener) -> None:
    await desk.exchange.fault("partial_fill", fraction="0.5", seconds=0.3)
    request = desk.order(Side.BUY, quantity="0.02")
    await desk.placed(request)
    part = await listener.next_of(request.client_order_id, OrderStatus.PARTIALLY_FILLED)
    whole = await listener.next_of(request.client_order_id, OrderStatus.FILLED)
    assert part.fills[0].quantity + whole.fills[0].quantity == whole.executed_quantity == D("0.02")


async def test_tc_s07_a_dropped_socket_comes_back(desk: Desk, listener: Listener) -> None:
    await desk.exchange.fault("drop_socket")
    await listener.next(StreamLost)
    await listener.next(StreamConnected)
    request = desk.order(Side.BUY, quote="1000")
    await desk.placed(request)
    await listener.next_of(request.client_order_id, OrderStatus.FILLED)


async def test_tc_s08_an_unknown_outcome_is_told_by_the_stream(
    desk: Desk, listener: Listener
) -> None:
    await desk.exchange.fault("error_5xx", status=503, accepted=True)
    request = desk.order(Side.BUY, quote="1000")
    placing = await asyncio.gather(desk.place(request), return_exceptions=True)
    assert isinstance(placing[0], Exception)
    await listener.next_of(request.client_order_id, OrderStatus.FILLED)


async def test_tc_s09_only_the_own_account(
    desk: Desk, make_desk: MakeDesk, listener: Listener
) -> None:
    stranger = await make_desk()
    await stranger.placed(stranger.order(Side.BUY, quote="1000", client_order_id="foreign"))
    await desk.placed(desk.order(Side.BUY, quote="1000", client_order_id="own"))
    first = await listener.next(OrderUpdated)
    assert first.report.client_order_id == "own"


async def test_tc_s10_a_muted_stream_leaves_the_truth_to_rest(
    desk: Desk, listener: Listener
) -> None:
    await desk.exchange.fault("mute_stream", seconds=30)
    request = desk.order(Side.BUY, quote="1000")
    await desk.placed(request)
    with pytest.raises(TimeoutError):
        await listener.next(OrderUpdated, within=0.5)
    found = await desk.found(request)
    assert found is not None
    assert found.status is OrderStatus.FILLED
