"""Sizes rest on balances that reflect every order of ours, whatever arrives late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest

from aristobot.core.errors import Retryable
from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import (
    Account,
    Balance,
    BalancesUpdated,
    ExchangeClient,
    OrderReport,
)
from aristobot.gateway.account_view import AccountView

START = datetime(2026, 11, 21, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def balances(free: int) -> dict[str, Balance]:
    return {"USDT": Balance("USDT", Decimal(free), Decimal(0))}


@dataclass
class Exchange:
    """Answers with `free`; `meanwhile` happens while the answer is on its way."""

    free: int = 1000
    calls: int = 0
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    async def account(self) -> Account:
        self.calls += 1
        answer = Account(balances(self.free), at(0))
        await asyncio.sleep(0)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return answer


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def view(exchange: Exchange) -> AccountView:
    view = AccountView(cast("ExchangeClient", exchange))
    view.stream_connected()
    return view


def stream(view: AccountView, free: int, seconds: float) -> None:
    view.apply(BalancesUpdated(tuple(balances(free).values()), at(seconds)))


def report(seconds: float, *, executed: int = 1, name: str = "an-order") -> OrderReport:
    status = OrderStatus.FILLED if executed else OrderStatus.NEW
    return OrderReport(
        symbol="BTCUSDT",
        client_order_id=name,
        exchange_order_id="1",
        side=Side.BUY,
        type=OrderType.MARKET,
        status=status,
        quantity=Decimal(1),
        executed_quantity=Decimal(executed),
        executed_quote=Decimal(executed),
        price=None,
        updated_at=at(seconds),
    )


async def test_the_stream_is_enough_after_the_first_read(
    view: AccountView, exchange: Exchange
) -> None:
    assert await view.free("USDT") == 1000
    stream(view, 900, 1)
    assert await view.free("USDT") == 900
    assert exchange.calls == 1


async def test_after_an_order_it_waits_for_the_stream(
    view: AccountView, exchange: Exchange
) -> None:
    await view.balances()
    view.order_changed(report(5))
    asking = asyncio.create_task(view.free("USDT"))
    await asyncio.sleep(0.02)
    assert not asking.done()
    stream(view, 950, 4)  # older than the order
    await asyncio.sleep(0.02)
    assert not asking.done()
    view.stream_told(report(5))
    stream(view, 800, 5)
    assert await asking == 800
    assert exchange.calls == 1


async def test_balances_of_the_same_millisecond_may_be_from_before_the_fill(
    view: AccountView, exchange: Exchange
) -> None:
    """Accepted (funds locked) and filled within one millisecond, with balances after each."""
    await view.balances()
    view.order_changed(report(5))
    asking = asyncio.create_task(view.free("USDT"))
    view.stream_told(report(5, executed=0))
    stream(view, 0, 5)
    await asyncio.sleep(0.02)
    assert not asking.done()
    view.stream_told(report(5))
    stream(view, 800, 5)
    assert await asking == 800
    assert exchange.calls == 1


async def test_a_stream_ahead_of_the_answer_is_enough(
    view: AccountView, exchange: Exchange
) -> None:
    await view.balances()
    view.stream_told(report(5))
    stream(view, 800, 5)
    view.order_changed(report(5))
    assert await view.free("USDT") == 800
    assert exchange.calls == 1


async def test_another_order_of_the_same_millisecond_does_not_count(
    view: AccountView, exchange: Exchange
) -> None:
    await view.balances()
    view.stream_told(report(5, name="by-hand"))
    stream(view, 900, 5)
    view.order_changed(report(5))
    exchange.free = 800
    assert await view.free("USDT") == 800
    assert exchange.calls == 2


async def test_when_the_stream_is_silent_it_asks(view: AccountView, exchange: Exchange) -> None:
    await view.balances()
    view.order_changed(report(5))
    exchange.free = 700
    assert await view.free("USDT") == 700
    assert exchange.calls == 2
    # A late event from before that order must not bring the old balance back.
    stream(view, 1000, 3)
    assert await view.free("USDT") == 700
    stream(view, 650, 6)
    assert await view.free("USDT") == 650


async def test_a_reply_that_the_stream_overtook_is_asked_again(
    view: AccountView, exchange: Exchange
) -> None:
    exchange.meanwhile.append(lambda: stream(view, 400, 9))
    await view.refresh()
    assert exchange.calls == 2


async def test_balances_that_never_rest_are_not_guessed(
    view: AccountView, exchange: Exchange
) -> None:
    exchange.meanwhile = [lambda n=n: stream(view, n, n) for n in range(1, 50)]  # type: ignore[misc]
    with pytest.raises(Retryable):
        await view.refresh()


async def test_without_the_stream_every_question_is_asked(
    view: AccountView, exchange: Exchange
) -> None:
    await view.balances()
    view.stream_lost()
    exchange.free = 5
    assert await view.free("USDT") == 5
    assert exchange.calls == 2


async def test_an_unknown_asset_is_not_held(view: AccountView) -> None:
    assert await view.free("DOGE") == 0
