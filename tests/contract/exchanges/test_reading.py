"""TC-R: the clock, the pairs, prices, balances, credentials."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured
from aristobot.core.orders import Side
from aristobot.exchanges.port import ExchangeRefused
from tests.contract.exchanges.conftest import Desk, MakeDesk

D = Decimal


async def test_tc_r01_connecting_is_quick_and_tells_the_time(make_desk: MakeDesk) -> None:
    desk = await make_desk(connect=False)
    started = time.perf_counter()
    await desk.client.connect()
    assert time.perf_counter() - started < 0.2
    assert abs(desk.client.now_ms() - time.time() * 1000) < 100


async def test_tc_r02_a_skewed_exchange_clock_is_followed(make_desk: MakeDesk) -> None:
    desk = await make_desk(connect=False)
    await desk.exchange.skew(30_000)
    await desk.client.connect()
    assert abs(desk.client.now_ms() - time.time() * 1000 - 30_000) < 100
    assert (await desk.placed(desk.order(Side.BUY, quote="20"))).fills
    await desk.exchange.skew(-30_000)
    await desk.client.measure_clock()
    assert abs(desk.client.now_ms() - time.time() * 1000 + 30_000) < 100
    assert (await desk.client.account()).balances


async def test_tc_r03_the_pairs_and_their_rules(desk: Desk) -> None:
    rules = (await desk.client.symbols())[desk.venue.symbol]
    assert (rules.base, rules.quote) == (desk.venue.base, desk.venue.quote)
    assert rules.is_trading
    assert rules.limit.step is not None
    assert rules.limit.step > 0
    assert rules.market.step is not None
    assert rules.price_tick is not None
    assert rules.min_notional is not None
    assert rules.quote_precision >= 2


async def test_tc_r04_the_price(desk: Desk) -> None:
    price = await desk.client.price(desk.venue.symbol)
    assert D("45000") < price < D("55000")


async def test_tc_r05_the_price_of_an_absent_pair(desk: Desk) -> None:
    with pytest.raises(Misconfigured):
        await desk.client.price(desk.venue.absent_symbol)


async def test_tc_r06_balances_without_the_empty_ones(desk: Desk) -> None:
    before = desk.client.now_ms()
    account = await desk.client.account()
    assert set(account.balances) == {desk.venue.base, desk.venue.quote}
    balance = account.balances[desk.venue.quote]
    assert (balance.free, balance.locked) == (D("10000"), D("0"))
    assert account.at is not None
    assert account.at.utcoffset() == timedelta(0)
    assert before <= round(account.at.timestamp() * 1000) <= desk.client.now_ms()


@pytest.mark.parametrize("wrong", ["key", "secret"])
async def test_tc_r07_wrong_credentials(make_desk: MakeDesk, wrong: str) -> None:
    desk = await make_desk(**{wrong: "w" * 64})
    with pytest.raises(Misconfigured):
        await desk.client.account()
    with pytest.raises(ExchangeRefused) as caught:
        await desk.place(desk.order(Side.BUY, quote="20"))
    assert caught.value.code == desk.venue.refusals[wrong]


@pytest.mark.parametrize("timeframe", Timeframe)
async def test_tc_r10_candles_are_closed_and_without_a_hole(
    desk: Desk, timeframe: Timeframe
) -> None:
    found = await desk.client.candles(desk.venue.symbol, timeframe, limit=20)
    assert len(found) == 20
    assert all(candle.timeframe is timeframe for candle in found)
    assert all(a.close_time == b.open_time for a, b in pairwise(found))
    assert found[0].open_time == timeframe.open_of(found[0].open_time)
    now = datetime.fromtimestamp(desk.client.now_ms() / 1000, UTC)
    assert now - timeframe.length * 2 <= found[-1].close_time <= now + timedelta(seconds=1)
    start, end = found[3].open_time, found[9].open_time
    again = await desk.client.candles(desk.venue.symbol, timeframe, start=start, end=end)
    assert again == found[3:9]


async def test_tc_r11_candles_of_an_unknown_symbol_are_refused(desk: Desk) -> None:
    with pytest.raises(Misconfigured):
        await desk.client.candles("NONSENSEUSDT", Timeframe.M1)
