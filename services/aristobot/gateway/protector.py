"""Keeps positions protected: sends what is planned, and makes way for a sale.

Beside the commands: a planned stop and target (`protection_book`) is let go once what it replaces
is cancelled and the exchange has confirmed that; the sending itself is the sender's. A sale comes
the other way round: first everything that protects the position is cancelled, for it locks the
coins, then what is really left is sold, and the sale's end plans the protection of the rest. All of
it is found again in the rows after a crash, and a command that is delivered again begins anew.

One lock per position keeps the two apart within this process; the lease keeps processes apart.
Deliberately not here: putting back what somebody cancelled by hand (the guardian's).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import (
    WEBHOOK_HOLDER,
    CancelOrders,
    PlaceOrder,
    ProtectPosition,
)
from aristobot.core.errors import Fenced, Refused, Retryable
from aristobot.core.orders import OrderStatus, is_final
from aristobot.core.sizing import size_market_sell
from aristobot.gateway.account_view import AccountView
from aristobot.gateway.order import Order
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.protection_book import ProtectionBook, must_be_awaited
from aristobot.gateway.resolver import Resolver
from aristobot.gateway.sender import Sender, is_too_old
from aristobot.gateway.transactions import Signal
from aristobot.platform import telemetry
from aristobot.platform.waiting import pause

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 5.0
_AGAIN_SECONDS = 0.3
_HUNDRED = Decimal(100)
_WORKING = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class Protector:
    """One broker's. `planned` is set when a plan was written."""

    def __init__(
        self,
        book: OrderBook,
        protection: ProtectionBook,
        sender: Sender,
        resolver: Resolver,
        account: AccountView,
        now_ms: Callable[[], int],
        planned: Signal,
    ) -> None:
        self._book = book
        self._protection = protection
        self._sender = sender
        self._resolver = resolver
        self._account = account
        self._now_ms = now_ms
        self._planned = planned
        self._positions: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self) -> None:
        """Let go what is planned, for ever; ends by cancellation or `Fenced`."""
        at_work: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._planned.forget()
                try:
                    plans = {plan.protects: plan for plan in await self._protection.plans()}
                except Retryable as error:
                    logger.warning("protecting waits", extra={"error": str(error)})
                    plans = {}
                at_work = {cause: task for cause, task in at_work.items() if not task.done()}
                for cause, plan in plans.items():
                    if cause is not None and cause not in at_work:
                        at_work[cause] = task = tasks.create_task(
                            self._carry_out(cause, plan), name=f"protect {cause}"
                        )
                        # It may have seen nothing of a plan that was written in its last moment.
                        task.add_done_callback(lambda _: self._planned.set())
                await self._planned.wait(_SWEEP_SECONDS)

    async def _carry_out(self, cause: str, plan: Order) -> None:
        """Until the plan is sent or withdrawn."""
        while True:
            try:
                with telemetry.resumed_span(
                    names.PROTECT,
                    plan.traceparent,
                    {names.SYMBOL: plan.request.symbol, names.COMMAND_ID: cause},
                ):
                    await self._let_go(cause, plan)
                return
            except Retryable as error:
                logger.info("protecting waits", extra={"command_id": cause, "error": str(error)})
                await pause(error.after_seconds)
            except Fenced:
                raise
            except Exception:
                # A fault of ours with one position must not leave the others without a stop. The
                # plan stays, and is looked at again by the next sweep.
                logger.exception("protecting failed", extra={"command_id": cause})
                await pause(_SWEEP_SECONDS)
                return

    async def _let_go(self, cause: str, plan: Order) -> None:
        symbol, holder = plan.request.symbol, plan.holder
        async with self._positions[symbol, holder]:
            open_orders = await self._protection.open_orders(symbol, holder)
            if not any(o.is_planned and o.protects == cause for o in open_orders):
                return  # withdrawn meanwhile: what protects the position now is another's
            if any(o.protects and not o.is_planned for o in open_orders):
                await self._cancel(await self._protection.make_way(symbol, holder))
            orders = await self._protection.let_go(cause, self._now_ms())
            if orders:
                await self._send(orders)

    async def _send(self, orders: Sequence[Order]) -> None:
        ids = {order.command_id for order in orders}
        self._resolver.busy |= ids
        try:
            look_after = await self._sender.send(orders)
        finally:
            self._resolver.busy -= ids
        for order in orders:
            if look_after is None:
                self._resolver.placed(order.command_id, order.request.type)
            else:
                self._resolver.schedule(order.command_id, look_after)

    async def replace(self, command: ProtectPosition) -> None:
        """Give the position another stop and target, once those it has are cancelled."""
        async with self._positions[command.symbol, command.holder]:
            await self._protection.replace(command)

    async def cancel_all(self, command: CancelOrders) -> None:
        """Cancel every open order of a position and let none follow; what is held stays.

        Raises `Retryable` until the exchange has said of each that it is over: the command comes
        again, and nothing overtakes it. Carried out twice, it finds nothing to do, as long as no
        position was opened in between: the stream knows copies apart, and if it should have
        forgotten, an engine publishes what a crash left over before it decides anything new.
        """
        if is_too_old(command):
            logger.warning(
                "orders are not cancelled: asked for too long ago",
                extra={"command_id": command.command_id, "symbol": command.symbol},
            )
            return
        symbol, holder = command.symbol, command.holder
        async with self._positions[symbol, holder]:
            # What was ending just now may have planned something before it was given up.
            while open_orders := await self._protection.give_up(symbol, holder):
                with telemetry.internal_span(names.CANCEL_ORDERS, {names.SYMBOL: symbol}):
                    # Those that can be cancelled, before the wait for those that are unknown.
                    await self._cancel(sorted(open_orders, key=lambda o: o.status not in _WORKING))

    async def refuse(self, command: PlaceOrder, code: str, reason: str) -> None:
        """Record an order that is never sent; what protects the position stays."""
        async with self._positions[command.symbol, command.holder]:
            await self._sender.refuse(command, code, reason)

    async def sell(self, command: PlaceOrder) -> float | None:
        """Carry out a sale; returns and raises as `Sender.place` does.

        Raises `Retryable` while something that protects the position can't be cancelled yet: the
        command comes again, and nothing overtakes it.
        """
        async with self._positions[command.symbol, command.holder]:
            position = (command.symbol, command.holder)
            is_known = await self._book.find(command.command_id) is not None
            refusal = None
            # One that was delivered again is sent already. One that is too old is refused below:
            # then the stop stays, or is planned anew where an earlier delivery has cancelled it.
            if not is_known and not is_too_old(command):
                self._protection.sales.add(position)  # also until it comes again
                try:
                    command = await self._make_way(command)
                except Refused as error:
                    refusal = error
            self._protection.sales.discard(position)
            if refusal is not None:
                await self._sender.refuse(command, refusal.code, str(refusal))
                return None
            return await self._sender.place(command)

    async def _make_way(self, command: PlaceOrder) -> PlaceOrder:
        """Cancel what protects the position; the command for what is left to sell then.

        Raises `Refused` if nothing is, `Retryable`.
        """
        symbol, holder = command.symbol, command.holder
        open_orders = await self._protection.open_orders(symbol, holder)
        for order in open_orders:
            if order.protects is None and must_be_awaited(order):
                raise Retryable(
                    f"order {order.request.client_order_id} of this position is not over yet",
                    after_seconds=_AGAIN_SECONDS,
                )
        if any(order.is_planned for order in open_orders):
            await self._protection.withdraw(symbol, holder)
        had_protection = any(o.protects is not None and not o.is_planned for o in open_orders)
        if had_protection:
            with telemetry.internal_span(names.CLEAR_FOR_SALE, {names.SYMBOL: symbol}):
                await self._cancel(await self._protection.make_way(symbol, holder))
        return await self._at_most_held(command, had_protection=had_protection)

    async def _at_most_held(self, command: PlaceOrder, *, had_protection: bool) -> PlaceOrder:
        """A stop that was hit meanwhile has sold some of it: what is asked for may be too much."""
        told = command.protection.held_quantity if command.protection is not None else None
        held = await self._protection.held(command.symbol, command.holder)
        is_outdated = held is not None and told is not None and held < told
        if command.quantity is None or not (is_outdated or had_protection):
            return command
        rules = await self._account.rules(command.symbol)
        if command.holder == WEBHOOK_HOLDER:
            # An alert sells a share of the account, not of a position.
            limit = await self._account.free(rules.base)
        elif held is not None:
            limit = held
        else:
            return command
        if command.quantity <= limit:
            return command
        price = await self._account.price(command.symbol)
        try:
            left = size_market_sell(rules, limit, _HUNDRED, price)
        except Refused as refusal:
            raise Refused(
                "already_closed",
                f"a stop or target has sold the position meanwhile ({refusal})",
            ) from refusal
        logger.info(
            "less is left to sell than was asked for",
            extra={
                "command_id": command.command_id,
                "asked": command.quantity,
                "left": left.quantity,
            },
        )
        return command.model_copy(update={"quantity": left.quantity})

    async def _cancel(self, orders: Sequence[Order]) -> None:
        """Cancel and have the exchange's word that each is over. Raises `Retryable`."""
        for order in orders:
            now = await self._book.find(order.command_id)
            try:
                if now is not None and now.status in _WORKING:
                    # Of a pair, this ends the other too: the second is then only looked up.
                    await self._sender.cancel_order(now)
                    now = await self._book.find(order.command_id)
                if now is not None and not is_final(now.status):
                    raise Retryable(
                        f"order {order.request.client_order_id} is not over yet",
                        after_seconds=_AGAIN_SECONDS,
                    )
            except Retryable:
                # It may be over at the exchange, and nobody may come back to this.
                self._resolver.schedule(order.command_id, 0.0)
                raise
