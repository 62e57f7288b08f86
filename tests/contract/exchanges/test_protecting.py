"""TC-W: stops, targets and pairs of which one cancels the other. Every case starts at 50,000."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import (
    WOULD_TRIGGER,
    ExchangeRefused,
    StreamConnected,
    UnknownOutcome,
)
from tests.contract.exchanges.conftest import Desk
from tests.contract.exchanges.simulated import Simulated, running_simulator
from tests.contract.exchanges.test_streaming import Listener
from tests.contract.exchanges.venues import PRICE, Venue

D = Decimal
NEW, FILLED, EXPIRED = OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.EXPIRED
CANCELLED = OrderStatus.CANCELLED


@pytest.mark.parametrize(
    ("kind", "side", "at", "to"),
    [
        (OrderType.STOP_LOSS, Side.SELL, "49000", "48990"),
        (OrderType.TAKE_PROFIT, Side.SELL, "51000", "51010"),
        (OrderType.STOP_LOSS, Side.BUY, "51000", "51010"),
        (OrderType.TAKE_PROFIT, Side.BUY, "49000", "48990"),
    ],
)
async def test_tc_w01_an_order_that_waits_and_triggers(
    desk: Desk, kind: OrderType, side: Side, at: str, to: str
) -> None:
    request = desk.waiting(kind, at, side=side)
    placed = await desk.placed(request)
    assert (placed.status, placed.type, placed.price) == (NEW, kind, None)
    assert placed.stop_price == D(at)
    assert (await desk.found(request)) == placed
    (listed,) = await desk.client.open_orders()
    assert (listed.type, listed.stop_price) == (kind, D(at))
    await desk.exchange.set_price(desk.venue.symbol, to)
    found = await desk.found(request)
    assert found is not None
    assert (found.status, found.executed_quantity) == (FILLED, D("0.1"))
    fills = await desk.client.fills(request.symbol, found.exchange_order_id)
    assert sum(fill.quantity for fill in fills) == D("0.1")


@pytest.mark.parametrize(
    ("kind", "side", "at"),
    [
        (OrderType.STOP_LOSS, Side.SELL, "50100"),
        (OrderType.TAKE_PROFIT, Side.SELL, "49900"),
        (OrderType.STOP_LOSS, Side.BUY, "49900"),
        (OrderType.LIMIT_MAKER, Side.SELL, "49900"),
        (OrderType.LIMIT_MAKER, Side.BUY, "50100"),
    ],
)
async def test_tc_w02_a_price_that_is_passed_already(
    desk: Desk, kind: OrderType, side: Side, at: str
) -> None:
    request = desk.waiting(kind, at, side=side)
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place(request)
    assert caught.value.code == WOULD_TRIGGER
    assert await desk.found(request) is None


@pytest.mark.parametrize(("stop", "target"), [("50100", "51000"), ("49000", "49900")])
async def test_tc_w03_a_pair_on_one_side_of_the_market(desk: Desk, stop: str, target: str) -> None:
    request = desk.pair(stop, target)
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place_list(request)
    assert caught.value.code == WOULD_TRIGGER
    assert await desk.found(request.stop) is None
    assert await desk.found(request.target) is None
    assert await desk.free(desk.venue.base) == 1


async def test_tc_w04_a_pair_locks_its_funds_once(desk: Desk) -> None:
    request = desk.pair("49000", "51000")
    answer = await desk.place_list(request)
    stop, target = answer.reports
    assert (stop.client_order_id, stop.type, stop.stop_price) == (
        request.stop.client_order_id,
        OrderType.STOP_LOSS,
        D("49000"),
    )
    assert (target.client_order_id, target.type, target.price) == (
        request.target.client_order_id,
        OrderType.LIMIT_MAKER,
        D("51000"),
    )
    balance = (await desk.client.account()).balances[desk.venue.base]
    assert (balance.free, balance.locked) == (D("0.9"), D("0.1"))
    assert await desk.found(request.stop) == stop
    assert await desk.found(request.target) == target
    assert {r.client_order_id for r in await desk.client.open_orders()} == {
        stop.client_order_id,
        target.client_order_id,
    }


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("target_type", [OrderType.LIMIT_MAKER, OrderType.TAKE_PROFIT])
@pytest.mark.parametrize("to", ["48500", "51500"])
async def test_tc_w05_one_leg_ends_the_other(
    desk: Desk, side: Side, target_type: OrderType, to: str
) -> None:
    low, high = "49000", "51000"
    prices = (low, high) if side is Side.SELL else (high, low)
    request = desk.pair(*prices, side=side, target_type=target_type)
    await desk.place_list(request)
    await desk.exchange.set_price(desk.venue.symbol, to)
    is_stop = (to == "48500") == (side is Side.SELL)
    assert await desk.statuses(request) == ((FILLED, EXPIRED) if is_stop else (EXPIRED, FILLED))
    balances = (await desk.client.account()).balances.values()
    assert all(balance.locked == 0 for balance in balances)
    assert await desk.client.open_orders() == ()
    assert (await desk.client.cancel(request.symbol, request.stop.client_order_id)).report is None


@pytest.mark.parametrize("leg", ["stop", "target"])
async def test_tc_w06_cancelling_a_leg_cancels_both(desk: Desk, leg: str) -> None:
    request = desk.pair("49000", "51000")
    await desk.place_list(request)
    named = request.stop if leg == "stop" else request.target
    cancelled = (await desk.client.cancel(request.symbol, named.client_order_id)).report
    assert cancelled is not None
    assert (cancelled.client_order_id, cancelled.status) == (named.client_order_id, CANCELLED)
    assert await desk.statuses(request) == (CANCELLED, CANCELLED)
    assert await desk.free(desk.venue.base) == 1
    for each in (request.stop, request.target):
        assert (await desk.client.cancel(each.symbol, each.client_order_id)).report is None


@pytest.mark.parametrize("kind", ["answer_lost", "error_5xx"])
async def test_tc_w07_an_accepted_pair_whose_answer_is_lost(desk: Desk, kind: str) -> None:
    path = desk.venue.paths["place_list"]
    await desk.exchange.fault(kind, path=path, **({"accepted": True} if "5xx" in kind else {}))
    request = desk.pair("49000", "51000")
    with pytest.raises(UnknownOutcome) as caught:
        await desk.place_list(request)
    assert not caught.value.was_turned_away
    assert await desk.statuses(request) == (NEW, NEW)
    with pytest.raises(UnknownOutcome):  # and a used client id is no refusal
        await desk.place_list(request)
    assert len(await desk.client.open_orders()) == 2


async def test_tc_w08_a_pair_that_was_turned_away(desk: Desk) -> None:
    request = desk.pair("49000", "51000")
    stale = desk.client.now_ms() - desk.client.order_window_ms - 50
    with pytest.raises(UnknownOutcome) as caught:
        await desk.client.place_list(request, timestamp_ms=stale)
    assert caught.value.was_turned_away
    await desk.exchange.fault("rate_limit", path=desk.venue.paths["place_list"], seconds=1)
    with pytest.raises(UnknownOutcome) as caught:
        await desk.place_list(request)
    assert caught.value.was_turned_away
    await asyncio.sleep(caught.value.retry_after_seconds)
    assert await desk.found(request.stop) is None
    assert await desk.found(request.target) is None


@pytest_asyncio.fixture
async def listener(desk: Desk) -> AsyncIterator[Listener]:
    made = Listener(desk.client)
    await made.next(StreamConnected)
    yield made
    await made.stop()


async def test_tc_w09_the_stream_tells_of_both_legs(desk: Desk, listener: Listener) -> None:
    request = desk.pair("49000", "51000")
    await desk.place_list(request)
    stop_id, target_id = request.stop.client_order_id, request.target.client_order_id
    waiting = await listener.next_of(stop_id, NEW)
    assert (waiting.type, waiting.stop_price) == (OrderType.STOP_LOSS, D("49000"))
    await listener.next_of(target_id, NEW)
    await desk.exchange.set_price(desk.venue.symbol, "48500")
    lost = await listener.next_of(target_id, EXPIRED)
    assert lost.executed_quantity == 0
    won = await listener.next_of(stop_id, FILLED)
    assert sum(fill.quantity for fill in won.fills) == D("0.1")
    await desk.exchange.set_price(desk.venue.symbol, "50000")
    again = desk.pair("49000", "51000")
    await desk.place_list(again)
    await desk.client.cancel(again.symbol, again.target.client_order_id)
    await listener.next_of(again.stop.client_order_id, CANCELLED)
    await listener.next_of(again.target.client_order_id, CANCELLED)


async def test_tc_w10_a_target_that_fills_in_parts(desk: Desk, listener: Listener) -> None:
    path = desk.venue.paths["place_list"]
    await desk.exchange.fault("partial_fill", path=path, fraction="0.3", seconds=0.3)
    request = desk.pair("49000", "51000")
    await desk.place_list(request)
    await desk.exchange.set_price(desk.venue.symbol, "51500")
    await listener.next_of(request.stop.client_order_id, EXPIRED)
    target_id = request.target.client_order_id
    part = await listener.next_of(target_id, OrderStatus.PARTIALLY_FILLED)
    assert part.executed_quantity == D("0.03")
    whole = await listener.next_of(target_id, FILLED)
    assert whole.executed_quantity == D("0.1")


async def test_tc_w11_the_exchange_restarts_in_between(venue: Venue, tmp_path: Path) -> None:
    with running_simulator(tmp_path) as origin:
        async with httpx.AsyncClient(base_url=origin, trust_env=False) as control:
            exchange = Simulated(origin, control)
            await exchange.set_price(venue.symbol, str(PRICE))
            account = await exchange.new_account()
            client = venue.client(origin, api_key=account.key, api_secret=account.secret)
            desk = Desk(venue, client, exchange)
            await client.connect()
            kept, fired = desk.pair("45000", "51000"), desk.pair("49000", "51000")
            for request in (kept, fired):
                await desk.place_list(request)
            await exchange.set_price(venue.symbol, "48500")
            before = [await desk.found(r) for p in (kept, fired) for r in (p.stop, p.target)]
            await client.close()
    with running_simulator(tmp_path, urlsplit(origin).port or 0):
        async with httpx.AsyncClient(base_url=origin, trust_env=False) as control:
            client = venue.client(origin, api_key=account.key, api_secret=account.secret)
            desk = Desk(venue, client, Simulated(origin, control))
            await client.connect()
            after = [await desk.found(r) for p in (kept, fired) for r in (p.stop, p.target)]
            assert after == before
            assert await desk.statuses(fired) == (FILLED, EXPIRED)
            await desk.exchange.set_price(venue.symbol, "44000")
            assert await desk.statuses(kept) == (FILLED, EXPIRED)
            assert await desk.free(venue.base) == D("0.8")
            await client.close()
