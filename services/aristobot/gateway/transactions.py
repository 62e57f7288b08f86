"""What every write of the gateway is made of: one transaction under the lease, with the journal row
of the call it follows from and the event that announces it.

Not here: what is written about orders (`order_book`, `outcomes`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts import trace_names as names
from aristobot.contracts.keys import event_id
from aristobot.contracts.messages import OrderEvent
from aristobot.contracts.streams import BrokerKey, event_subject
from aristobot.core.errors import AristobotError, Fenced
from aristobot.core.orders import OrderStatus, Side
from aristobot.exchanges.port import HttpCall
from aristobot.gateway import order_statements as sql
from aristobot.gateway.order import Order
from aristobot.platform import telemetry
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxMessage, enqueue
from aristobot.platform.statements import Statement
from aristobot.platform.tables import gateway_leases
from aristobot.platform.waiting import wait_set


def producer_of(key: BrokerKey) -> str:
    """The outbox queue of a broker's order events."""
    return f"gateway:{key}"


class Signal:
    """Wakes one task that looks, works and waits, over and over."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def forget(self) -> None:
        """To be called before looking: only what comes later ends the next wait."""
        self._event.clear()

    async def wait(self, timeout_seconds: float) -> None:
        """Return when it was set, or when the time is over."""
        await wait_set(self._event, timeout_seconds)


class FillsMissing(AristobotError):
    """More of an order is executed than its known fills come to: some were never told of."""


class Transactions:
    """One broker's. `base_of` gives a symbol's base, to know fees taken from it."""

    def __init__(self, database: Database, key: BrokerKey, base_of: dict[str, str]) -> None:
        self._database = database
        self.key = key
        self.base_of = base_of
        self._epoch = 0
        #: An order event waits in the outbox.
        self.announced = Signal()
        #: A protective order is planned.
        self.planned = Signal()
        #: What the open transactions will signal once they are committed.
        self._signals: defaultdict[AsyncConnection, set[Signal]] = defaultdict(set)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that announces nothing."""
        async with self._database.transaction(self.key.owner) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that wakes, once it is committed, whoever `will_signal` named."""
        async with self._database.transaction(self.key.owner) as connection:
            try:
                yield connection
            finally:
                signals = self._signals.pop(connection, set())
        # Only now that it is committed can those see what they wake up for.
        for signal in signals:
            signal.set()

    def will_signal(self, connection: AsyncConnection, signal: Signal) -> None:
        """Set `signal` once the transaction of `connection` is committed."""
        self._signals[connection].add(signal)

    async def take_lease(self, holder: str) -> None:
        """Become the broker's gateway; whoever was it before is fenced from now on."""
        values = {"owner": self.key.owner, "broker": self.key.broker, "holder": holder}
        statement = upsert(gateway_leases).values(**values, epoch=1)
        async with self._database.transaction(self.key.owner) as connection:
            self._epoch = await connection.scalar(
                statement.on_conflict_do_update(
                    index_elements=["owner", "broker"],
                    set_={
                        "epoch": gateway_leases.c.epoch + 1,
                        "holder": holder,
                        "taken_at": func.now(),
                    },
                ).returning(gateway_leases.c.epoch)
            )

    async def require_lease(self, connection: AsyncConnection) -> None:
        if not await self.has_lease(connection):
            raise self.fenced()

    def fenced(self) -> Fenced:
        return Fenced(f"another gateway has taken over {self.key}")

    async def has_lease(self, connection: AsyncConnection) -> bool:
        epoch = await sql.LEASE_EPOCH.value(
            connection, owner=self.key.owner, broker=self.key.broker
        )
        return self.is_ours(epoch)

    def is_ours(self, epoch: int | None) -> bool:
        """Whether the lease is this gateway's, by the epoch that was read of it."""
        return epoch == self._epoch

    async def load(
        self, connection: AsyncConnection, statement: Statement, identifier: str
    ) -> Order | None:
        row = await statement.row(
            connection, owner=self.key.owner, broker=self.key.broker, id=identifier
        )
        return Order.of(row) if row is not None else None

    async def journal(
        self, connection: AsyncConnection, order: Order, call: HttpCall | None, purpose: str
    ) -> None:
        if call is None:
            return
        await sql.INSERT_CALL.run(
            connection,
            owner=self.key.owner,
            broker=self.key.broker,
            command_id=order.command_id,
            purpose=purpose,
            asked_by=order.asked_by,
            method=call.method,
            path=call.path,
            params=dict(call.params),
            sent_at=call.sent_at,
            duration_ms=Decimal(str(round(call.duration_ms, 3))),
            status=call.status,
            answer=call.answer,
            failure=call.failure,
            trace_id=telemetry.current_trace_id(),
            traceparent=telemetry.current_traceparent(),
        )

    async def announce(
        self,
        connection: AsyncConnection,
        order: Order,
        status: OrderStatus,
        executed_quantity: Decimal,
        executed_quote: Decimal,
        reason: str | None,
        *,
        at: datetime | None = None,
    ) -> None:
        base_fee = Decimal(0)
        if executed_quantity:
            sums = await sql.SUMS_OF_FILLS.row(
                connection,
                owner=self.key.owner,
                broker=self.key.broker,
                client_order_id=order.request.client_order_id,
                base=self.base_of.get(order.request.symbol),
            )
            if sums is None or sums["quantity"] < executed_quantity:
                raise FillsMissing(f"fills of {order.request.client_order_id} are missing")
            if order.request.side is Side.BUY:
                base_fee = sums["base_fee"]
        event = OrderEvent(
            event_id=event_id(order.request.client_order_id, status, executed_quantity),
            command_id=order.command_id,
            client_order_id=order.request.client_order_id,
            owner=self.key.owner,
            broker=self.key.broker,
            symbol=order.request.symbol,
            side=order.request.side,
            status=status,
            executed_quantity=executed_quantity,
            executed_quote=executed_quote,
            base_fee=base_fee,
            reason=reason,
            at=at or datetime.now(UTC),
            holder=order.holder,
        )
        self.will_signal(connection, self.announced)
        with telemetry.producer_span(names.ORDERS_EVENTS) as carrier:
            await enqueue(
                connection,
                owner=self.key.owner,
                producer=producer_of(self.key),
                message=OutboxMessage(
                    subject=event_subject(self.key),
                    message_id=event.event_id,
                    payload=event.encode(),
                    headers=carrier,
                ),
            )
