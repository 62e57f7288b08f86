"""The rows of stops and targets: planned in the transaction that ends the order they protect.

A planned row (`Order.is_planned`: attempt 0) is wanted and was never sent, so a crash forgets none
and sends none twice. What it covers is reckoned again from the holder's orders when it is let go,
because an older stop may have been hit meanwhile. An order that we cancel is marked before
(`make_way`): whoever records its end then, and however late, plans it anew unless something else
follows. Not here: who cancels and sends what and in which order (`protector`), and the arithmetic
(`core.protection`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.keys import client_order_id, protection_id
from aristobot.contracts.messages import Level, PlaceOrder, Protection, ProtectPosition
from aristobot.core.errors import Retryable
from aristobot.core.orders import OrderStatus, OrderType, Side, is_final, is_outcome_known
from aristobot.core.protection import Cover, Uncovered, cover, holding, sellable
from aristobot.core.symbols import SymbolRules
from aristobot.gateway import protection_statements as sql
from aristobot.gateway.order import Anchor, Order
from aristobot.gateway.transactions import Transactions
from aristobot.platform import telemetry
from aristobot.platform.statements import Statement

logger = logging.getLogger(__name__)

_ZERO = Decimal(0)
#: Orders are summed up anew from about here, so that the sum stays short.
_SUM_AT_MOST = timedelta(minutes=10)
_ROLES = {"stop": OrderType.STOP_LOSS, "target": OrderType.LIMIT_MAKER, "close": OrderType.MARKET}


@dataclass(frozen=True, slots=True)
class _Cause:
    """What protective orders follow from: an order's end, or a command for them alone.

    `protects`: the command that their position is known by.
    """

    command_id: str
    protects: str
    symbol: str
    holder: str
    asked_by: str
    caused_at: datetime
    is_exit: bool

    @classmethod
    def of(cls, order: Order) -> _Cause:
        return cls(
            command_id=order.command_id,
            protects=order.protects or order.command_id,
            symbol=order.request.symbol,
            holder=order.holder,
            asked_by=order.asked_by,
            caused_at=order.caused_at,
            is_exit=order.request.side is Side.SELL,
        )

    @classmethod
    def of_command(cls, command: ProtectPosition) -> _Cause:
        return cls(
            command_id=command.command_id,
            protects=command.command_id,
            symbol=command.symbol,
            holder=command.holder,
            asked_by=command.asked_by.value,
            caused_at=command.caused_at,
            is_exit=False,
        )


class ProtectionBook:
    """One broker's. `rules_of`: a symbol's rules, None if it isn't traded (any more)."""

    def __init__(
        self, transactions: Transactions, rules_of: Callable[[str], SymbolRules | None]
    ) -> None:
        self._tx = transactions
        self._key = transactions.key
        self._rules_of = rules_of
        #: Positions (symbol and holder) with a sale in hand, whose end plans what follows.
        self.sales: set[tuple[str, str]] = set()

    async def anchor(self, connection: AsyncConnection, command: PlaceOrder) -> Anchor | None:
        """What the command's row is to say of the position, None if nothing is known of it.

        The sender of the command may not have heard yet that a stop was hit; our rows have, so
        the lesser of the two amounts is what is held. A sale that names no levels keeps those
        that are in force.
        """
        latest, known = await self._known(connection, command.symbol, command.holder)
        asked = command.protection
        if asked is None:
            if command.side is Side.BUY or latest is None or known is None:
                return None
            asked = latest.model_copy(update={"held_quantity": known})
        elif command.side is Side.SELL and latest is not None:
            asked = asked.model_copy(
                update={
                    "stop_loss": _in_force(asked.stop_loss, latest.stop_loss),
                    "take_profit": _in_force(asked.take_profit, latest.take_profit),
                }
            )
        return await self._anchored(connection, command, asked, latest, known)

    async def _anchored(
        self,
        connection: AsyncConnection,
        command: PlaceOrder | ProtectPosition,
        asked: Protection,
        latest: Anchor | None,
        known: Decimal | None,
    ) -> Anchor:
        symbol, holder = command.symbol, command.holder
        if latest is not None and datetime.now(UTC) - latest.since < _SUM_AT_MOST:
            since = latest.since
        else:
            since = await sql.SINCE.value(connection, **self._of(symbol, holder))
        told = asked.held_quantity
        return Anchor(
            stop_loss=asked.stop_loss,
            take_profit=asked.take_profit,
            held_quantity=told if known is None else min(told, known),
            moved=await self._moved(connection, symbol, holder, since),
            since=since,
        )

    async def held(self, symbol: str, holder: str) -> Decimal | None:
        """What the holder has by its orders' own account; None if that was never told."""
        async with self._tx.reading() as connection:
            _, known = await self._known(connection, symbol, holder)
        return known

    async def _known(
        self, connection: AsyncConnection, symbol: str, holder: str
    ) -> tuple[Anchor | None, Decimal | None]:
        found = await sql.LATEST_ANCHOR.value(connection, **self._of(symbol, holder))
        if not found:
            return None, None
        latest = Anchor.model_validate(found)
        moved = await self._moved(connection, symbol, holder, latest.since)
        return latest, holding(latest.held_quantity, latest.moved, moved)

    async def _moved(
        self, connection: AsyncConnection, symbol: str, holder: str, since: datetime
    ) -> Decimal:
        moved: Decimal = await sql.MOVED.value(
            connection,
            **self._of(symbol, holder),
            base=self._tx.base_of.get(symbol),
            since=since,
        )
        return moved

    def _of(self, symbol: str, holder: str) -> dict[str, str]:
        return {
            "owner": self._key.owner,
            "broker": self._key.broker,
            "symbol": symbol,
            "holder": holder,
        }

    async def order_ended(self, connection: AsyncConnection, order: Order) -> None:
        """Plan what follows from an order's end; part of the transaction that records it."""
        if order.protects is not None:
            await self._protective_order_ended(connection, order)
            return
        if order.anchor is None or (order.request.side is Side.BUY and not order.executed_quantity):
            return  # then whatever protected the position still does
        held = await self._held_by(connection, order)
        if order.request.side is Side.SELL:
            is_refused = order.status is OrderStatus.REJECTED
            # Of what a refused sale has begun to cancel, the end may be recorded at this moment.
            statement = sql.LOCKED_OPEN_OF_HOLDER if is_refused else sql.OPEN_OF_HOLDER
            open_orders = await self._open(
                connection, order.request.symbol, order.holder, statement
            )
            if any(other.protects_now for other in open_orders):
                return  # the sale never got so far as to cancel them
        entry = None
        if order.request.side is Side.BUY:
            entry = order.executed_quote / order.executed_quantity
        # They may have been replaced while the order rested at the exchange.
        latest, _ = await self._known(connection, order.request.symbol, order.holder)
        anchor = order.anchor.with_prices_of(latest)
        await self._plan(connection, _Cause.of(order), anchor, held, entry)

    async def replace(self, command: ProtectPosition) -> None:
        """Plan another stop and target for all that the holder has; once for each command.

        Raises `Fenced`, and `Retryable` when the database is away.
        """
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            rows = await sql.OF_CAUSE.rows(
                connection,
                owner=self._key.owner,
                broker=self._key.broker,
                protects=command.command_id,
            )
            if rows:
                return
            latest, known = await self._known(connection, command.symbol, command.holder)
            anchor = await self._anchored(connection, command, command.protection, latest, known)
            held = anchor.held_quantity
            await self._plan(connection, _Cause.of_command(command), anchor, held, None)

    async def _plan(
        self,
        connection: AsyncConnection,
        cause: _Cause,
        anchor: Anchor,
        held: Decimal,
        entry: Decimal | None,
    ) -> None:
        rules = self._rules_of(cause.symbol)
        wanted: Cover | Uncovered = (
            cover(held, stop=anchor.stop, target=anchor.target, entry_price=entry, rules=rules)
            if rules is not None
            else Uncovered("no_rules", f"{cause.symbol} is not traded any more")
        )
        if isinstance(wanted, Uncovered):
            if wanted.code in ("nothing_left", "dust"):
                await self._withdraw_all(connection, cause.symbol, cause.holder)
            await self._say_uncovered(connection, cause, wanted)
            return
        await self._withdraw_all(connection, cause.symbol, cause.holder)
        is_pair = wanted.stop_price is not None and wanted.target_price is not None
        list_id = client_order_id(protection_id(cause.command_id, "list")) if is_pair else None
        prices = {"stop": wanted.stop_price, "target": wanted.target_price}
        at_prices = anchor.model_copy(
            update={"stop_loss": _price(prices["stop"]), "take_profit": _price(prices["target"])}
        )
        for role, price in prices.items():
            if price is not None:
                await self._insert(
                    connection, cause, role, wanted.quantity, at_prices, price, list_id
                )

    async def _say_uncovered(
        self, connection: AsyncConnection, cause: _Cause, why: Uncovered
    ) -> None:
        is_expected = why.code in ("nothing_left", "no_levels") or (
            why.code == "dust" and cause.is_exit
        )
        if is_expected:
            return
        logger.error(
            "a position can't be protected",
            extra={"command_id": cause.command_id, "code": why.code, "reason": why.reason},
        )
        await sql.SAY_UNPROTECTED.run(
            connection,
            id=cause.command_id,
            new_code="unprotected",
            new_reason=f"the position is not protected: {why.reason}",
        )

    async def _protective_order_ended(self, connection: AsyncConnection, order: Order) -> None:
        """What the exchange has ended may leave a rest without a stop, and what made way, too."""
        if order.anchor is None:
            return
        if order.status is OrderStatus.CANCELLED:
            if order.anchor.makes_way and order.protects_now:
                await self._made_way(connection, order, order.anchor)
        elif order.status is not OrderStatus.EXPIRED:
            return
        elif order.executed_quantity > 0:
            # A market that ran dry ends a triggered stop: what it left is sold, too.
            await self.plan_close(connection, order)
        elif order.request.type is OrderType.STOP_LOSS and order.list_id is not None:
            # Its target has begun to fill. If that is all over by now, the plan comes to nothing;
            # else the rest gets a stop again, in place of a target that stands alone.
            held = await self._held_by(connection, order)
            await self._plan(connection, _Cause.of(order), order.anchor, held, None)

    async def _made_way(self, connection: AsyncConnection, order: Order, anchor: Anchor) -> None:
        """Plan it anew if what it was cancelled for doesn't follow.

        Its gateway may have been killed, or held up and replaced, and the sale be refused by now.
        """
        position = (order.request.symbol, order.holder)
        if position in self.sales and await self._tx.has_lease(connection):
            return
        if not any(other.is_planned for other in await self._open(connection, *position)):
            held = await self._held_by(connection, order)
            await self._plan(connection, _Cause.of(order), anchor, held, None)

    async def plan_close(self, connection: AsyncConnection, order: Order) -> None:
        """Plan a sale at market in place of a protective order; part of a transaction."""
        if order.anchor is not None and order.anchor.has_levels and order.request.quantity:
            quantity = order.request.quantity - order.executed_quantity
            cause = _Cause.of(order)
            await self._insert(connection, cause, "close", quantity, order.anchor, None, None)

    async def plan_stop_alone(self, connection: AsyncConnection, order: Order) -> None:
        """Plan the stop of a refused pair without its target: that may be all that was wrong."""
        stop, quantity = order.request.stop_price, order.request.quantity
        if order.list_id is None or stop is None or quantity is None or order.anchor is None:
            return
        if not order.anchor.has_levels:
            return  # given up while it was on its way
        anchor = order.anchor.model_copy(update={"take_profit": None})
        await self._insert(connection, _Cause.of(order), "stop", quantity, anchor, stop, None)

    async def _insert(
        self,
        connection: AsyncConnection,
        cause: _Cause,
        role: str,
        quantity: Decimal,
        anchor: Anchor,
        price: Decimal | None,
        list_id: str | None,
    ) -> None:
        command_id = protection_id(cause.command_id, role)
        await sql.INSERT_PLAN.run(
            connection,
            **self._of(cause.symbol, cause.holder),
            command_id=command_id,
            client_order_id=client_order_id(command_id),
            side=Side.SELL.value,
            type=_ROLES[role].value,
            quantity=quantity,
            price=price if role == "target" else None,
            status=OrderStatus.SENDING.value,
            asked_by=cause.asked_by,
            source_id=cause.command_id,
            attempt=0,
            sent_timestamp_ms=0,
            caused_at=cause.caused_at,
            trace_id=telemetry.current_trace_id(),
            traceparent=telemetry.current_traceparent(),
            protection=anchor.model_dump(mode="json", exclude_none=True, exclude={"makes_way"}),
            protects=cause.protects,
            stop_price=price if role == "stop" else None,
            list_id=list_id,
        )
        self._tx.will_signal(connection, self._tx.planned)

    async def plans(self) -> Sequence[Order]:
        """Every planned row. Raises `Fenced` when another gateway has taken over."""
        async with self._tx.reading() as connection:
            await self._tx.require_lease(connection)
            rows = await sql.PLANNED.rows(
                connection, owner=self._key.owner, broker=self._key.broker
            )
        return [Order.of(row) for row in rows]

    async def open_orders(self, symbol: str, holder: str) -> Sequence[Order]:
        """The holder's orders that aren't over, the planned ones included.

        Raises `Fenced`: what follows from them is the business of the gateway with the lease.
        """
        async with self._tx.reading() as connection:
            await self._tx.require_lease(connection)
            return await self._open(connection, symbol, holder)

    async def _open(
        self,
        connection: AsyncConnection,
        symbol: str,
        holder: str,
        statement: Statement = sql.OPEN_OF_HOLDER,
    ) -> Sequence[Order]:
        rows = await statement.rows(connection, **self._of(symbol, holder))
        return [Order.of(row) for row in rows]

    async def make_way(self, symbol: str, holder: str) -> Sequence[Order]:
        """Mark what protects the position as about to be cancelled by us; these orders.

        Raises `Fenced`: then nothing may be cancelled.
        """
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            rows = await sql.MAKE_WAY.rows(connection, **self._of(symbol, holder))
            return [Order.of(row) for row in rows]

    async def let_go(self, cause: str, timestamp_ms: int) -> tuple[Order, ...]:
        """Turn the rows planned for `cause` into intents to send: the stop before its target.

        Empty when nothing is planned (any more) or nothing is left to protect. Raises `Retryable`
        while another sale of the holder could still change what is left, and `Fenced`.
        """
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            rows = await sql.LOCKED_PLAN.rows(
                connection, owner=self._key.owner, broker=self._key.broker, protects=cause
            )
            planned = [Order.of(row) for row in rows]
            if not planned:
                return ()
            first = planned[0]
            for other in await self._open(connection, first.request.symbol, first.holder):
                is_sale = other.request.side is Side.SELL
                if is_sale and not other.is_planned and must_be_awaited(other):
                    raise Retryable(
                        f"order {other.request.client_order_id} comes before", after_seconds=0.1
                    )
            quantity = await self._coverable(connection, first)
            if isinstance(quantity, Uncovered):
                for order in planned:
                    await sql.WITHDRAW.run(
                        connection,
                        id=order.command_id,
                        new_code=quantity.code,
                        new_reason=f"never sent: {quantity.reason}",
                    )
                return ()
            sent = [
                await sql.LET_GO.row(
                    connection,
                    id=order.command_id,
                    new_quantity=quantity,
                    timestamp_ms=timestamp_ms,
                )
                for order in planned
            ]
        return in_order(Order.of(row) for row in sent if row is not None)

    async def _coverable(self, connection: AsyncConnection, order: Order) -> Decimal | Uncovered:
        rules = self._rules_of(order.request.symbol)
        if rules is None:
            raise Retryable(f"the rules of {order.request.symbol} are not known", after_seconds=5)
        anchor = order.anchor
        if anchor is None:
            return Uncovered("nothing_left", "what is held is not known")
        level = anchor.stop or anchor.target
        held = await self._held_by(connection, order)
        return sellable(held, level.value if level else _ZERO, rules)

    async def _held_by(self, connection: AsyncConnection, order: Order) -> Decimal:
        """What the holder of `order` has now, by the order's anchor."""
        anchor = order.anchor
        if anchor is None:
            return _ZERO
        symbol, holder = order.request.symbol, order.holder
        moved = await self._moved(connection, symbol, holder, anchor.since)
        return holding(anchor.held_quantity, anchor.moved, moved)

    async def give_up(self, symbol: str, holder: str) -> Sequence[Order]:
        """Take back the holder's stop and target, wherever they are wanted; what is open then.

        What was never sent is withdrawn. What the exchange has is left to the caller; but its end
        plans nothing any more, and what the exchange proves not to have isn't sent again.
        """
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            await self._withdraw_all(connection, symbol, holder, "the orders were cancelled")
            rows = await sql.GIVE_UP.rows(connection, **self._of(symbol, holder))
            return [order for row in rows if not is_final((order := Order.of(row)).status)]

    async def withdraw(self, symbol: str, holder: str) -> None:
        """Forget what is planned for the holder and was never sent."""
        async with self._tx.writing() as connection:
            await self._tx.require_lease(connection)
            await self._withdraw_all(connection, symbol, holder)

    async def _withdraw_all(
        self,
        connection: AsyncConnection,
        symbol: str,
        holder: str,
        why: str = "a later order of the position came before",
    ) -> None:
        await sql.WITHDRAW_ALL.run(
            connection,
            **self._of(symbol, holder),
            new_code="superseded",
            new_reason=f"never sent: {why}",
        )

    async def locked(self, symbol: str, holder: str) -> Decimal:
        """How much base the holder's stops and targets keep locked at the exchange.

        Raises `Fenced`.
        """
        async with self._tx.reading() as connection:
            row = await sql.LOCKED_BY_HOLDER.row(connection, **self._of(symbol, holder))
        if row is None or not self._tx.is_ours(row["epoch"]):
            raise self._tx.fenced()
        amount: Decimal = row["amount"]
        return amount


def must_be_awaited(order: Order) -> bool:
    """Whether what the position is can't be known while this order is open.

    A limit order may rest for days, so nobody waits for one that the exchange has.
    """
    if order.protects is not None or not is_outcome_known(order.status):
        return True
    return order.request.type is OrderType.MARKET


def in_order(legs: Iterable[Order]) -> tuple[Order, ...]:
    """A stop before its target, as the exchange's list of the two has them."""
    return tuple(sorted(legs, key=lambda order: order.request.type is not OrderType.STOP_LOSS))


def _in_force(asked: Level | None, known: Level | None) -> Level | None:
    """A fraction means one of the entry's price, so an exit takes the price that came of it."""
    if asked is None or asked.kind == "price":
        return asked
    return known if known is not None and known.kind == "price" else asked


def _price(price: Decimal | None) -> Level | None:
    return Level(kind="price", value=price) if price is not None else None
