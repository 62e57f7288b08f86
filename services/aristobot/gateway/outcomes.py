"""What the exchange says of our orders, merged into their rows.

Every later word is merged (`core.orders.is_progress`), so repeated and overtaking reports are
harmless. Each change is one transaction with its fills, its journal row, its event, and the stop
and target that follow from an order's end.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.core.orders import OrderStatus, OrderType, is_final, is_outcome_known, is_progress
from aristobot.exchanges.port import WOULD_TRIGGER, Fill, HttpCall, OrderReport
from aristobot.gateway import order_statements as sql
from aristobot.gateway.order import Order
from aristobot.gateway.protection_book import ProtectionBook
from aristobot.gateway.transactions import Transactions
from aristobot.platform import metrics
from aristobot.platform.tables import orders

logger = logging.getLogger(__name__)

_ZERO = Decimal(0)


class Outcomes:
    """One broker's."""

    def __init__(self, transactions: Transactions, protection: ProtectionBook) -> None:
        self._tx = transactions
        self._protection = protection
        self._key = transactions.key

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
        async with self._tx.writing() as connection:
            order = await self._tx.load(connection, sql.LOCKED_BY_CLIENT_ID, client_order_id)
            if order is None:
                return None
            await self._tx.journal(connection, order, call, purpose)
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
            await self._tx.announce(
                connection,
                order,
                report.status,
                report.executed_quantity,
                report.executed_quote,
                None,
                at=report.updated_at,
            )
            if _begins_to_protect(order):
                waited = (datetime.now(UTC) - order.created_at).total_seconds()
                metrics.UNPROTECTED_SECONDS.labels(broker=str(self._key)).observe(waited)
            now = Order.of(row) if row is not None else None
            if now is not None and is_final(now.status):
                await self._protection.order_ended(connection, now)
            return now

    async def record_refusal(
        self,
        orders: Sequence[Order],
        code: str,
        reason: str,
        *,
        call: HttpCall | None,
        purpose: str,
    ) -> None:
        """The exchange said no, or it never had the order and it is too late to send it.

        `orders`: one, or the two of a pair that were sent in one request.
        """
        await self._record_end(orders, OrderStatus.REJECTED, code, reason, call, purpose)

    async def record_unknown(
        self, orders: Sequence[Order], reason: str, *, call: HttpCall | None, purpose: str
    ) -> None:
        """Nobody knows; the resolver takes it from here."""
        await self._record_end(orders, OrderStatus.UNKNOWN, "unknown", reason, call, purpose)

    async def _record_end(
        self,
        orders: Sequence[Order],
        status: OrderStatus,
        code: str,
        reason: str,
        call: HttpCall | None,
        purpose: str,
    ) -> None:
        async with self._tx.writing() as connection:
            await self._tx.journal(connection, orders[0], call, purpose)
            is_ours = await self._tx.has_lease(connection)
            # What a gateway that was held up and replaced meanwhile concludes from its own attempt
            # says nothing of its successor's. Its call is in the journal all the same.
            ended = [
                order
                for order in orders
                if is_ours and await self._end_attempt(connection, order, status, code, reason)
            ]
            for order in ended:
                await self._tx.announce(connection, order, status, _ZERO, _ZERO, reason)
            if ended and status is OrderStatus.REJECTED:
                await self._follow_refusal(connection, ended[0], code, reason)
        if not is_ours:
            raise self._tx.fenced()

    async def _follow_refusal(
        self, connection: AsyncConnection, order: Order, code: str, reason: str
    ) -> None:
        if order.protects is None:
            await self._protection.order_ended(connection, order)
        elif code == WOULD_TRIGGER and order.request.type is not OrderType.MARKET:
            # The market has passed the stop (or the target) before it was there: so be it.
            await self._protection.plan_close(connection, order)
        else:
            logger.error(
                "the exchange refuses to protect a position",
                extra={"protects": order.protects, "code": code, "reason": reason},
            )
            await self._protection.plan_stop_alone(connection, order)

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
        async with self._tx.reading() as connection:
            await self._tx.journal(connection, order, call, purpose)

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


def _begins_to_protect(order: Order) -> bool:
    """Whether the exchange now has what it hadn't; a pair counts once, by its stop."""
    return order.protects_now and not is_outcome_known(order.status)
