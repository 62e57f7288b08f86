"""A gateway on real servers: NATS, PostgreSQL, and the simulator as its exchange."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import select

from aristobot.contracts.keys import client_order_id
from aristobot.contracts.messages import (
    AskedBy,
    CancelOrder,
    CancelOrders,
    CommandEnvelope,
    Level,
    OrderEvent,
    PlaceOrder,
    Protection,
    ProtectPosition,
    QueryEnvelope,
    QueryReply,
    SizingQuery,
    SizingReply,
    strategy_holder,
)
from aristobot.contracts.streams import (
    ORDER_EVENTS,
    ORDERS,
    BrokerKey,
    command_subject,
    event_subject,
    query_subject,
)
from aristobot.core.errors import Fenced
from aristobot.core.orders import OrderType, Side
from aristobot.exchanges.registry import create_client
from aristobot.gateway.service import Gateway
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.db import Database
from aristobot.platform.tables import orders
from tests.contract.exchanges.simulated import Simulated, running_simulator
from tests.harness.servers import nats_server, postgres_server

SYMBOL = "BTCUSDT"
HOLDER = strategy_holder("ema")
FINAL = {"filled", "cancelled", "rejected", "expired"}
Row = dict[str, Any]
_Found = TypeVar("_Found")
Command = TypeVar("Command", PlaceOrder, CancelOrder, ProtectPosition, CancelOrders)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="session")
def simulator_origin() -> Iterator[str]:
    with running_simulator() as origin:
        yield origin


def levels(stop: str | None, target: str | None, held: str = "0") -> Protection:
    """Prices, or fractions if they are below 1."""

    def level(text: str | None) -> Level | None:
        if text is None:
            return None
        value = Decimal(text)
        return Level(kind="fraction" if value < 1 else "price", value=value)

    return Protection(stop_loss=level(stop), take_profit=level(target), held_quantity=Decimal(held))


@dataclass
class Desk:
    """One broker with its gateway, and its account at the exchange."""

    key: BrokerKey
    bus: Bus
    database: Database
    exchange: Simulated
    api_key: str
    api_secret: str
    events: list[OrderEvent] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _client: Any = None

    async def start(self) -> None:
        self._client = create_client(
            "binance",
            "simulator",
            api_key=self.api_key,
            api_secret=self.api_secret,
            base_url=self.exchange.origin,
        )
        gateway = Gateway(
            self.key,
            bus=self.bus,
            database=self.database,
            client=self._client,
            venue="binance",
            market="binance-simulator",
            holder=secrets.token_hex(4),
        )
        self._task = asyncio.create_task(gateway.run())

    async def stop(self) -> None:
        """Cut the gateway off wherever it is."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._client.close()

    async def fenced(self) -> None:
        """Wait until the gateway has ended as one that was replaced does, and start another."""
        assert self._task is not None
        await asyncio.wait([self._task], timeout=20)
        ended_of = self._task.exception()
        assert isinstance(ended_of, ExceptionGroup)
        assert ended_of.split(Fenced)[1] is None
        await self._client.close()
        await self.start()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def command(
        self,
        side: Side,
        *,
        quantity: str | Decimal | None = None,
        quote: str | None = None,
        price: str | None = None,
        protection: Protection | None = None,
        holder: str = HOLDER,
        valid_until: datetime | None = None,
    ) -> PlaceOrder:
        identifier = secrets.token_hex(16)
        return PlaceOrder(
            command_id=identifier,
            client_order_id=client_order_id(identifier),
            owner=self.key.owner,
            broker=self.key.broker,
            symbol=SYMBOL,
            side=side,
            type=OrderType.LIMIT if price else OrderType.MARKET,
            quantity=Decimal(quantity) if quantity is not None else None,
            quote_quantity=Decimal(quote) if quote is not None else None,
            price=Decimal(price) if price is not None else None,
            asked_by=AskedBy.STRATEGY,
            source_id="test",
            caused_at=datetime.now(UTC),
            valid_until=valid_until,
            holder=holder,
            protection=protection,
        )

    async def replace(self, protection: Protection) -> ProtectPosition:
        """Ask for another stop and target."""
        command = ProtectPosition(
            command_id=secrets.token_hex(16),
            owner=self.key.owner,
            broker=self.key.broker,
            symbol=SYMBOL,
            holder=HOLDER,
            protection=protection,
            asked_by=AskedBy.WEBHOOK,
            caused_at=datetime.now(UTC),
        )
        return await self.send(command)

    async def send(self, command: Command) -> Command:
        await self.bus.publish(
            ORDERS,
            command_subject(self.key),
            CommandEnvelope(command=command).encode(),
            message_id=command.command_id,
            headers={},
        )
        return command

    async def rows(self) -> list[Row]:
        async with self.database.transaction(self.key.owner) as connection:
            found = await connection.execute(
                select(orders)
                .where(orders.c.owner == self.key.owner)
                .order_by(orders.c.created_at, orders.c.type)
            )
            return [dict(row) for row in found.mappings()]

    async def protecting(self, *, status: str = "new") -> list[Row]:
        """The stops and targets in this state, the stop before its target."""
        found = [
            row
            for row in await self.rows()
            if row["protects"] is not None and row["status"] == status and row["attempt"] > 0
        ]
        return sorted(found, key=lambda row: row["stop_price"] is None)

    async def ended(self, command: PlaceOrder) -> Row:
        """The command's order once it is over."""

        async def look() -> Row | None:
            rows = [row for row in await self.rows() if row["command_id"] == command.command_id]
            return rows[0] if rows and rows[0]["status"] in FINAL else None

        return await eventually(look, what="the order's end")

    async def protected(self, command: PlaceOrder | ProtectPosition, count: int = 2) -> list[Row]:
        """What protects the command's position at the exchange, once it is there."""

        async def look() -> list[Row] | None:
            found = [r for r in await self.protecting() if r["protects"] == command.command_id]
            return found if len(found) == count else None

        return await eventually(look, what=f"{count} orders that protect")

    async def buy(self, quantity: str, protection: Protection, count: int = 2) -> PlaceOrder:
        """A filled and protected entry."""
        command = self.command(Side.BUY, quantity=quantity, protection=protection)
        await self.send(command)
        await self.protected(command, count)
        return command

    async def at_exchange(self) -> list[Row]:
        """Every order the exchange ever took from us, oldest first."""
        answer = await self.exchange.control.get(
            "/control/orders", params={"api_key": self.api_key}
        )
        answer.raise_for_status()
        found: list[Row] = answer.json()
        return found

    async def open_at_exchange(self) -> list[Row]:
        return [
            order
            for order in await self.at_exchange()
            if order["status"] in ("new", "partially_filled")
        ]

    async def balance(self, asset: str = "BTC") -> tuple[Decimal, Decimal]:
        """Free and locked at the exchange."""
        answer = await self.exchange.control.get(f"/control/accounts/{self.api_key}")
        balance = answer.json()["balances"].get(asset, {"free": "0", "locked": "0"})
        return Decimal(balance["free"]), Decimal(balance["locked"])

    async def sizing(self, holder: str) -> SizingReply:
        query = QueryEnvelope(query=SizingQuery(symbol=SYMBOL, holder=holder))
        data = await self.bus.request(query_subject(self.key), query.encode(), timeout_seconds=5)
        reply = QueryReply.model_validate_json(data).sizing
        assert reply is not None
        return reply

    async def price(self, price: str) -> None:
        await self.exchange.set_price(SYMBOL, price)

    async def assert_books_agree(self) -> None:
        """Every order of ours is at the exchange once and as our row says; events told of it."""

        async def look() -> bool:
            theirs = {order["client_id"]: order for order in await self.at_exchange()}
            ours = {
                row["client_order_id"]: row
                for row in await self.rows()
                if row["exchange_order_id"] is not None
            }
            return ours.keys() == theirs.keys() and all(
                row["status"] == theirs[name]["status"]
                and row["executed_quantity"] == Decimal(theirs[name]["executed"])
                for name, row in ours.items()
            )

        await eventually(look, what="rows that agree with the exchange")
        assert len(await self.at_exchange()) == len(
            {order["client_id"] for order in await self.at_exchange()}
        )

    async def told(self, command_id: str, status: str) -> OrderEvent:
        async def look() -> OrderEvent | None:
            return next(
                (
                    event
                    for event in self.events
                    if event.command_id == command_id and event.status.value == status
                ),
                None,
            )

        return await eventually(look, what=f"the event {status}")

    async def _listen(self, delivery: Delivery) -> None:
        self.events.append(OrderEvent.model_validate_json(delivery.data))


async def eventually(
    look: Callable[[], Awaitable[_Found | None]], *, seconds: float = 25.0, what: str = "it"
) -> _Found:
    """Look until there is something true; fail after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.03)


@pytest.fixture
async def desk(postgres_url: str, nats_url: str, simulator_origin: str) -> AsyncIterator[Desk]:
    """A broker of its own on a calm exchange, its gateway running, BTC at 50,000."""
    async with (
        httpx.AsyncClient(base_url=simulator_origin, trust_env=False) as control,
    ):
        exchange = Simulated(simulator_origin, control)
        await exchange.calm()
        await exchange.set_price(SYMBOL, "50000")
        account = await exchange.new_account({"USDT": "100000"})
        bus = await Bus.connect(nats_url, name="test", timeout_seconds=20)
        database = Database(postgres_url, service="test")
        key = BrokerKey(f"owner-{secrets.token_hex(4)}", "main")
        desk = Desk(key, bus, database, exchange, account.key, account.secret)
        listening = asyncio.create_task(
            bus.consume(ORDER_EVENTS, event_subject(key), f"test-{key.owner}", desk._listen)
        )
        await desk.start()
        try:
            yield desk
        finally:
            await desk.stop()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await database.close()
            await bus.close()
            await exchange.calm()
