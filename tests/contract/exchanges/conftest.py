"""Every case runs once per venue, each time with a fresh account on a calm exchange."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import httpx
import pytest
import pytest_asyncio

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import (
    Answer,
    ExchangeClient,
    ListAnswer,
    OrderListRequest,
    OrderReport,
    OrderRequest,
)
from tests.contract.exchanges.simulated import Credentials, Simulated, running_simulator
from tests.contract.exchanges.venues import PRICE, VENUES, Venue


@dataclass
class Desk:
    """A client at a running exchange, with the shortest way to place an order."""

    venue: Venue
    client: ExchangeClient
    exchange: Simulated
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def order(
        self,
        side: Side,
        *,
        quantity: str | None = None,
        quote: str | None = None,
        price: str | None = None,
        symbol: str | None = None,
        client_order_id: str | None = None,
    ) -> OrderRequest:
        return OrderRequest(
            symbol=symbol or self.venue.symbol,
            side=side,
            type=OrderType.MARKET if price is None else OrderType.LIMIT,
            client_order_id=client_order_id or f"tc-{next(self._ids)}",
            quantity=None if quantity is None else Decimal(quantity),
            quote_quantity=None if quote is None else Decimal(quote),
            price=None if price is None else Decimal(price),
        )

    def waiting(
        self, kind: OrderType, at: str, *, side: Side = Side.SELL, quantity: str = "0.1"
    ) -> OrderRequest:
        """An order that waits for a price: a stop, a target, or one resting there."""
        rests = kind is OrderType.LIMIT_MAKER
        return OrderRequest(
            symbol=self.venue.symbol,
            side=side,
            type=kind,
            client_order_id=f"tc-{next(self._ids)}",
            quantity=Decimal(quantity),
            price=Decimal(at) if rests else None,
            stop_price=None if rests else Decimal(at),
        )

    def pair(
        self, stop: str, target: str, *, side: Side = Side.SELL,
        target_type: OrderType = OrderType.LIMIT_MAKER,
    ) -> OrderListRequest:  # fmt: skip
        return OrderListRequest(
            symbol=self.venue.symbol,
            list_client_id=f"tc-{next(self._ids)}",
            stop=self.waiting(OrderType.STOP_LOSS, stop, side=side),
            target=self.waiting(target_type, target, side=side),
        )

    async def place_list(self, request: OrderListRequest) -> ListAnswer:
        return await self.client.place_list(request, timestamp_ms=self.client.now_ms())

    async def statuses(self, request: OrderListRequest) -> tuple[OrderStatus, OrderStatus]:
        """Of the stop and of the target."""
        stop, target = await self.found(request.stop), await self.found(request.target)
        assert stop is not None
        assert target is not None
        return stop.status, target.status

    async def place(self, request: OrderRequest) -> Answer:
        return await self.client.place(request, timestamp_ms=self.client.now_ms())

    async def placed(self, request: OrderRequest) -> OrderReport:
        report = (await self.place(request)).report
        assert report is not None
        return report

    async def found(self, request: OrderRequest) -> OrderReport | None:
        return (await self.client.order(request.symbol, request.client_order_id)).report

    async def free(self, asset: str) -> Decimal:
        balance = (await self.client.account()).balances.get(asset)
        return balance.free if balance else Decimal(0)


@pytest.fixture(params=VENUES, ids=lambda venue: venue.exchange)
def venue(request: pytest.FixtureRequest) -> Venue:
    chosen: Venue = request.param
    return chosen


@pytest.fixture(scope="session")
def simulator_origin() -> Iterator[str]:
    with running_simulator() as origin:
        yield origin


@pytest_asyncio.fixture
async def exchange(venue: Venue, simulator_origin: str) -> AsyncIterator[Simulated]:
    async with httpx.AsyncClient(
        base_url=simulator_origin, verify=False, trust_env=False
    ) as control:
        simulated = Simulated(simulator_origin, control)
        await simulated.calm()
        await simulated.set_price(venue.symbol, str(PRICE))
        yield simulated
        await simulated.calm()


MakeDesk = Callable[..., Awaitable[Desk]]


@pytest_asyncio.fixture
async def make_desk(venue: Venue, exchange: Simulated) -> AsyncIterator[MakeDesk]:
    """Desks with accounts of their own, or wrong credentials, or not connected."""
    opened: list[Desk] = []

    async def make(
        *, key: str | None = None, secret: str | None = None, connect: bool = True
    ) -> Desk:
        account = await exchange.new_account()
        account = Credentials(key or account.key, secret or account.secret)
        client = venue.client(exchange.origin, api_key=account.key, api_secret=account.secret)
        opened.append(Desk(venue, client, exchange))
        if connect:
            await client.connect()
        return opened[-1]

    yield make
    for desk in opened:
        await desk.client.close()


@pytest_asyncio.fixture
async def desk(make_desk: MakeDesk) -> Desk:
    return await make_desk()
