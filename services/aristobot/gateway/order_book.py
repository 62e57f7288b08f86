"""The gateway's intents: written before anything is sent, found again after a restart.

An order's row is its intent; the client order id in it is a function of the command, so a repeated
command finds it. Not here: what the exchange says of orders (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.messages import PlaceOrder
from aristobot.core.orders import OrderStatus
from aristobot.gateway import order_statements as sql
from aristobot.gateway.order import Order
from aristobot.gateway.protection_book import ProtectionBook, in_order
from aristobot.gateway.transactions import Transactions
from aristobot.platform import telemetry
from aristobot.platform.tables import ORDER_IS_OPEN, orders


class _MovedOn(Exception):
    """An order that was to be sent again is not as it was."""


class OrderBook:
    """One broker's intents."""

    def __init__(self, transactions: Transactions, protection: ProtectionBook) -> None:
        self._tx = transactions
        self._protection = protection
        self._key = transactions.key

    async def find(self, command_id: str) -> Order | None:
        async with self._tx.reading() as connection:
            return await self._tx.load(connection, sql.ORDER_BY_COMMAND, command_id)

    async def find_by_client_id(self, client_order_id: str) -> Order | None:
        async with self._tx.reading() as connection:
            return await self._tx.load(connection, sql.ORDER_BY_CLIENT_ID, client_order_id)

    async def unsettled(self) -> Sequence[Order]:
        """Orders whose end isn't known: sending, unknown, or working at the exchange.

        Those that are only planned are the protector's, and not among them.

        Raises `Fenced` when another gateway has taken over: then they are its business.
        """
        async with self._tx.reading() as connection:
            await self._tx.require_lease(connection)
            rows = await connection.execute(
                select(orders)
                .where(
                    orders.c.owner == self._key.owner,
                    orders.c.broker == self._key.broker,
                    ORDER_IS_OPEN,
                    orders.c.attempt > 0,
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
            "holder": command.holder,
        }
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            anchor = await self._protection.anchor(connection, command)
            stored = anchor.model_dump(mode="json", exclude_none=True) if anchor else None
            row = await sql.INSERT_INTENT.row(connection, **values, protection=stored)
            if row is None:
                return None
            order = Order.of(row)
            if status is OrderStatus.REJECTED:
                await self._tx.announce(connection, order, status, Decimal(0), Decimal(0), reason)
                await self._protection.order_ended(connection, order)
        return order

    async def pair_of(self, order: Order) -> tuple[Order, ...]:
        """The orders that were sent in one request with this one, itself included."""
        if order.list_id is None:
            return (order,)
        async with self._tx.reading() as connection:
            rows = await connection.execute(
                select(orders).where(
                    orders.c.owner == self._key.owner,
                    orders.c.broker == self._key.broker,
                    orders.c.protects == order.protects,
                    orders.c.list_id == order.list_id,
                )
            )
            return in_order(Order.of(row) for row in rows.mappings())

    async def renew_intent(
        self, sent: Sequence[Order], timestamp_ms: int
    ) -> tuple[Order, ...] | None:
        """Write the intent to send once more. Only after the exchange's proof of absence.

        `sent`: what was one request. None when any of it moved on meanwhile; `Fenced` when another
        gateway has taken over.
        """
        try:
            async with self._tx.writing() as connection:
                await self._tx.require_lease(connection)
                return await self._renew(connection, sent, timestamp_ms)
        except _MovedOn:
            return None

    async def _renew(
        self, connection: AsyncConnection, sent: Sequence[Order], timestamp_ms: int
    ) -> tuple[Order, ...]:
        rows = await connection.execute(
            update(orders)
            .where(
                or_(
                    *(
                        and_(
                            orders.c.command_id == order.command_id,
                            orders.c.attempt == order.attempt,
                        )
                        for order in sent
                    )
                ),
                orders.c.status.in_([OrderStatus.SENDING.value, OrderStatus.UNKNOWN.value]),
            )
            .values(
                attempt=orders.c.attempt + 1,
                sent_timestamp_ms=timestamp_ms,
                status=OrderStatus.SENDING.value,
                updated_at=func.now(),
            )
            .returning(orders)
        )
        renewed = in_order(Order.of(row) for row in rows.mappings())
        if len(renewed) != len(sent):
            raise _MovedOn
        return renewed
