"""Which commands are settled, and waiting for one: what makes sizes rest on settled balances.

A command is settled when the account reflects it (`core.orders.is_settled`) or never will. The
answer comes from memory where possible, else from the order's row, so a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from aristobot.core.errors import Retryable
from aristobot.core.orders import is_settled
from aristobot.gateway.order import Order
from aristobot.gateway.order_book import OrderBook

_WAIT_SECONDS = 1.5
_REMEMBERED = 1000


class Settlement:
    """`changed` is told of every order's new state."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._news = asyncio.Condition()

    async def changed(self, order: Order) -> None:
        if is_settled(order.request.type, order.status):
            await self.settled(order.command_id)

    async def settled(self, command_id: str) -> None:
        async with self._news:
            self._settled[command_id] = None
            while len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
            self._news.notify_all()

    async def wait(self, command_id: str) -> None:
        """Return once the command is settled. Raises `Retryable` if that takes too long."""
        if command_id in self._settled:
            return
        order = await self._book.find(command_id)
        if order is not None:
            await self.changed(order)
        try:
            async with asyncio.timeout(_WAIT_SECONDS), self._news:
                await self._news.wait_for(lambda: command_id in self._settled)
        except TimeoutError:
            raise Retryable(
                f"the order before it (command {command_id}) is not settled yet", after_seconds=0.3
            ) from None
