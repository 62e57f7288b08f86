"""The gateway's SQL: the lease, the intent rows, outcomes, fills and the journal.

An order's row is its intent: it is there before anything is sent, and every later word of the
exchange is merged into it (`core.orders.is_progress`), so repeated and overtaking reports are
harmless. Each change is one transaction with its journal row and the event that announces it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts import trace_names as names
from aristobot.contracts.keys import event_id
from aristobot.contracts.messages import OrderEvent, PlaceOrder
from aristobot.contracts.streams import BrokerKey, event_subject
from aristobot.core.errors import AristobotError, Fenced
from aristobot.core.orders import OrderStatus, OrderType, Side, is_progress
from aristobot.exchanges.port import Fill, HttpCall, OrderReport, OrderRequest
from aristobot.gateway import order_statements as sql
from aristobot.platform import telemetry
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxMessage, enqueue
from aristobot.platform.statements import Statement
from aristobot.platform.tables import gateway_leases, orders
from aristobot.platform.waiting import wait_set

logger = logging.getLogger(__name__)


def producer_of(key: BrokerKey) -> str:
    """The outbox queue of a broker's order events."""
    return f"gateway:{key}"


@dataclass(frozen=True, slots=True)
class Order:
    """An intent row as the gateway works with it."""

    command_id: str
    request: OrderRequest
    status: OrderStatus
    executed_quantity: Decimal
    exchange_order_id: str | None
    asked_by: str
    attempt: int
    sent_timestamp_ms: int
    valid_until: datetime | None
    traceparent: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any] | RowMapping) -> Order:
        return cls(
            command_id=row["command_id"],
            request=OrderRequest(
                symbol=row["symbol"],
                side=Side(row["side"]),
                type=OrderType(row["type"]),
                client_order_id=row["client_order_id"],
                quantity=row["quantity"],
                quote_quantity=row["quote_quantity"],
                price=row["price"],
            ),
            status=OrderStatus(row["status"]),
            executed_quantity=row["executed_quantity"],
            exchange_order_id=row["exchange_order_id"],
            asked_by=row["asked_by"],
            attempt=row["attempt"],
            sent_timestamp_ms=row["sent_timestamp_ms"],
            valid_until=row["valid_until"],
            traceparent=row["traceparent"],
        )


class FillsMissing(AristobotError):
    """More of an order is executed than its known fills come to: some were never told of."""


class OrderBook:
    """One broker's orders. `base_assets` gives a symbol's base, to know fees taken from it."""

    def __init__(self, database: Database, key: BrokerKey, base_of: dict[str, str]) -> None:
        self._database = database
        self._key = key
        self._base_of = base_of
        self._epoch = 0
        self._announced = asyncio.Event()
        #: The open transactions that have written an event.
        self._announcing: set[AsyncConnection] = set()

    async def wait_for_event(self, timeout_seconds: float) -> None:
        """Return when an event was written to the outbox, or when the time is over."""
        await wait_set(self._announced, timeout_seconds)

    def forget_events(self) -> None:
        """To be called before the outbox is looked at: only later events end the next wait."""
        self._announced.clear()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.transaction(self._key.owner) as connection:
            try:
                yield connection
            finally:
                has_event = connection in self._announcing
                self._announcing.discard(connection)
        # Only now that it is committed can the publisher see what it wakes up for.
        if has_event:
            self._announced.set()

    async def take_lease(self, holder: str) -> None:
        """Become the broker's gateway; whoever was it before is fenced from now on."""
        values = {"owner": self._key.owner, "broker": self._key.broker, "holder": holder}
        statement = upsert(gateway_leases).values(**values, epoch=1)
        async with self._database.transaction(self._key.owner) as connection:
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

    async def _require_lease(self, connection: AsyncConnection) -> None:
        if not await self._has_lease(connection):
            raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(f"another gateway has taken over {self._key}")

    async def _has_lease(self, connection: AsyncConnection) -> bool:
        epoch = await sql.LEASE_EPOCH.value(
            connection, owner=self._key.owner, broker=self._key.broker
        )
        return bool(epoch == self._epoch)

    async def find(self, command_id: str) -> Order | None:
        async with self._database.transaction(self._key.owner) as connection:
            return await self._load(connection, sql.ORDER_BY_COMMAND, command_id)

    async def find_by_client_id(self, client_order_id: str) -> Order | None:
        async with self._database.transaction(self._key.owner) as connection:
            return await self._load(connection, sql.ORDER_BY_CLIENT_ID, client_order_id)

    async def _load(
        self, connection: AsyncConnection, statement: Statement, identifier: str
    ) -> Order | None:
        row = await statement.row(
            connection, owner=self._key.owner, broker=self._key.broker, id=identifier
        )
        return Order.of(row) if row is not None else None

    async def unsettled(self) -> Sequence[Order]:
        """Orders whose end isn't known: sending, unknown, or working at the exchange.

        Raises `Fenced` when another gateway has taken over: then they are its business.
        """
        states = (
            OrderStatus.SENDING,
            OrderStatus.UNKNOWN,
            OrderStatus.NEW,
            OrderStatus.PARTIALLY_FILLED,
        )
        async with self._database.transaction(self._key.owner) as connection:
            await self._require_lease(connection)
            rows = await connection.execute(
                select(orders)
                .where(
                    orders.c.owner == self._key.owner,
                    orders.c.broker == self._key.broker,
                    orders.c.status.in_([state.value for state in states]),
                )
                .order_by(orders.c.created_at)
            )
            return [Order.of(row) for row in rows.mappings()]

    async def write_intent(self, command: PlaceOrder, timestamp_ms: int) -> Order | None:
        """Write the intent to send; None if this command has an intent already.

        Raises `Fenced` when another gateway has taken over: then nothing may be sent.
        """
        return await self._insert(command, OrderStatus.SENDING, timestamp_ms)

    async def write_refused(self, command: PlaceOrder, code: str, reason: str) -> None:
        """Record a command that is never sent."""
        await self._insert(command, OrderStatus.REJECTED, 0, code=code, reason=reason)

    async def _insert(
        self,
        command: PlaceOrder,
        status: OrderStatus,
        timestamp_ms: int,
        *,
        code: str | None = None,
        reason: str | None = None,
    ) -> Order | None:
        values = {
            "command_id": command.command_id,
            "client_order_id": command.client_order_id,
            "owner": command.owner,
            "broker": command.broker,
            "symbol": command.symbol,
            "side": command.side.value,
            "type": command.type.value,
            "quantity": command.quantity,
            "quote_quantity": command.quote_quantity,
            "price": command.price,
            "status": status.value,
            "code": code,
            "reason": reason,
            "asked_by": command.asked_by.value,
            "source_id": command.source_id,
            "sent_timestamp_ms": timestamp_ms,
            "caused_at": command.caused_at,
            "valid_until": command.valid_until,
            "trace_id": telemetry.current_trace_id(),
            "traceparent": telemetry.current_traceparent(),
        }
        async with self._writing() as connection:
            await self._require_lease(connection)
            row = await sql.INSERT_INTENT.row(connection, **values)
            if row is None:
                return None
            order = Order.of(row)
            if status is OrderStatus.REJECTED:
                await self._announce(connection, order, status, Decimal(0), Decimal(0), reason)
        return order

    async def renew_intent(self, order: Order, timestamp_ms: int) -> Order | None:
        """Write the intent to send once more. Only after the exchange's proof of absence.

        None when the order moved on meanwhile; `Fenced` when another gateway has taken over.
        """
        async with self._writing() as connection:
            await self._require_lease(connection)
            row = (
                (
                    await connection.execute(
                        update(orders)
                        .where(
                            orders.c.command_id == order.command_id,
                            orders.c.attempt == order.attempt,
                            orders.c.status.in_(
                                [OrderStatus.SENDING.value, OrderStatus.UNKNOWN.value]
                            ),
                        )
                        .values(
                            attempt=order.attempt + 1,
                            sent_timestamp_ms=timestamp_ms,
                            status=OrderStatus.SENDING.value,
                            updated_at=func.now(),
                        )
                        .returning(orders)
                    )
                )
                .mappings()
                .one_or_none()
            )
        return Order.of(row) if row is not None else None

    async def record_report(
        self,
        client_order_id: str,
        report: OrderReport,
        *,
        call: HttpCall | None = None,
        purpose: str = "",
    ) -> Order | None:
        """Merge what the exchange says; returns the order as it is now, None if not ours.

        Raises `FillsMissing`, and changes nothing, when the report's fills and those known before
        don't come to what it says is executed: fees, and so the position, would be wrong for good.
        """
        async with self._writing() as connection:
            order = await self._load(connection, sql.LOCKED_BY_CLIENT_ID, client_order_id)
            if order is None:
                return None
            await self._journal(connection, order, call, purpose)
            await self._insert_fills(connection, order, report.fills)
            if not is_progress(
                order.status, order.executed_quantity, report.status, report.executed_quantity
            ):
                return order
            if order.status is OrderStatus.REJECTED:
                logger.error(
                    "the exchange has an order that counted as rejected",
                    extra={"client_order_id": client_order_id, "status": report.status.value},
                )
            row = await sql.MERGE_REPORT.row(
                connection,
                id=order.command_id,
                new_status=report.status.value,
                new_exchange_order_id=report.exchange_order_id,
                new_executed_quantity=report.executed_quantity,
                new_executed_quote=report.executed_quote,
                new_updated_at=report.updated_at,
                accepted_at=call.answered_at if call is not None else datetime.now(UTC),
            )
            await self._announce(
                connection,
                order,
                report.status,
                report.executed_quantity,
                report.executed_quote,
                None,
                at=report.updated_at,
            )
            return Order.of(row) if row is not None else None

    async def record_refusal(
        self, order: Order, code: str, reason: str, *, call: HttpCall | None, purpose: str
    ) -> None:
        """The exchange said no, or it never had the order and it is too late to send it."""
        await self._record_end(order, OrderStatus.REJECTED, code, reason, call, purpose)

    async def record_unknown(
        self, order: Order, reason: str, *, call: HttpCall | None, purpose: str
    ) -> None:
        """Nobody knows; the resolver takes it from here."""
        await self._record_end(order, OrderStatus.UNKNOWN, "unknown", reason, call, purpose)

    async def _record_end(
        self,
        order: Order,
        status: OrderStatus,
        code: str,
        reason: str,
        call: HttpCall | None,
        purpose: str,
    ) -> None:
        async with self._writing() as connection:
            await self._journal(connection, order, call, purpose)
            is_ours = await self._has_lease(connection)
            # What a gateway that was held up and replaced meanwhile concludes from its own attempt
            # says nothing of its successor's. Its call is in the journal all the same.
            if is_ours and await self._end_attempt(connection, order, status, code, reason):
                await self._announce(connection, order, status, Decimal(0), Decimal(0), reason)
        if not is_ours:
            raise self._fenced()

    async def _end_attempt(
        self,
        connection: AsyncConnection,
        order: Order,
        status: OrderStatus,
        code: str,
        reason: str,
    ) -> bool:
        changed = await connection.execute(
            update(orders)
            .where(
                orders.c.command_id == order.command_id,
                orders.c.attempt == order.attempt,
                # The stream may have brought the exchange's own word meanwhile: it counts.
                orders.c.status.in_([OrderStatus.SENDING.value, OrderStatus.UNKNOWN.value]),
            )
            .values(status=status.value, code=code, reason=reason, updated_at=func.now())
        )
        return bool(changed.rowcount)

    async def record_call(self, order: Order, call: HttpCall, purpose: str) -> None:
        """Journal a call that changed nothing."""
        async with self._database.transaction(self._key.owner) as connection:
            await self._journal(connection, order, call, purpose)

    async def _journal(
        self, connection: AsyncConnection, order: Order, call: HttpCall | None, purpose: str
    ) -> None:
        if call is None:
            return
        await sql.INSERT_CALL.run(
            connection,
            owner=self._key.owner,
            broker=self._key.broker,
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

    async def _insert_fills(
        self, connection: AsyncConnection, order: Order, executed: Sequence[Fill]
    ) -> None:
        if not executed:
            return
        rows = [
            {
                "owner": self._key.owner,
                "broker": self._key.broker,
                "symbol": order.request.symbol,
                "trade_id": fill.trade_id,
                "client_order_id": order.request.client_order_id,
                "price": fill.price,
                "quantity": fill.quantity,
                "fee": fill.fee,
                "fee_asset": fill.fee_asset,
                "is_maker": fill.is_maker,
                "at": fill.at,
            }
            for fill in executed
        ]
        await sql.INSERT_FILL.run_many(connection, rows)

    async def _announce(
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
                owner=self._key.owner,
                broker=self._key.broker,
                client_order_id=order.request.client_order_id,
                base=self._base_of.get(order.request.symbol),
            )
            if sums is None or sums["quantity"] < executed_quantity:
                raise FillsMissing(f"fills of {order.request.client_order_id} are missing")
            if order.request.side is Side.BUY:
                base_fee = sums["base_fee"]
        event = OrderEvent(
            event_id=event_id(order.request.client_order_id, status, executed_quantity),
            command_id=order.command_id,
            client_order_id=order.request.client_order_id,
            owner=self._key.owner,
            broker=self._key.broker,
            symbol=order.request.symbol,
            side=order.request.side,
            status=status,
            executed_quantity=executed_quantity,
            executed_quote=executed_quote,
            base_fee=base_fee,
            reason=reason,
            at=at or datetime.now(UTC),
        )
        self._announcing.add(connection)
        with telemetry.producer_span(names.ORDERS_EVENTS) as carrier:
            await enqueue(
                connection,
                owner=self._key.owner,
                producer=producer_of(self._key),
                message=OutboxMessage(
                    subject=event_subject(self._key),
                    message_id=event.event_id,
                    payload=event.encode(),
                    headers=carrier,
                ),
            )
