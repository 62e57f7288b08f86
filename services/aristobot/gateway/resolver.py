"""Looks after every order whose outcome or end isn't known, until it is.

Runs beside the commands, so an unknown outcome delays only those who must wait for it. It finds
its orders in the database, also after a restart: orders whose answer is missing, and market
orders that the stream should have reported finished by now.
"""

from __future__ import annotations

import asyncio
import logging
import time

from aristobot.core.errors import AristobotError, Fenced, Retryable
from aristobot.core.orders import OrderType
from aristobot.exchanges.port import ExchangeRefused
from aristobot.gateway.order import Order
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.sender import Sender, is_open
from aristobot.platform import metrics
from aristobot.platform.waiting import wait_set

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
_SWEEP_SECONDS = 5.0
#: When a working order is looked at again: the stream tells of a resting one, and a stream that
#: lost a message without breaking would go unnoticed.
_PATIENCE_SECONDS = {
    order_type: 3.0 if order_type is OrderType.MARKET else 60.0 for order_type in OrderType
}


class Resolver:
    """`busy` holds the commands that are being sent at this moment: those aren't looked at."""

    def __init__(self, book: OrderBook, sender: Sender, *, broker: str) -> None:
        self._broker = broker
        self._book = book
        self._sender = sender
        self._due: dict[str, float] = {}
        self._wake = asyncio.Event()
        self.busy: set[str] = set()

    def schedule(self, command_id: str, after_seconds: float) -> None:
        """Look at this command's order not before `after_seconds` from now."""
        self._due[command_id] = time.monotonic() + after_seconds
        self._wake.set()

    def placed(self, command_id: str, order_type: OrderType) -> None:
        """The exchange has just told of this order: no need to look before it is late."""
        self._due[command_id] = time.monotonic() + _PATIENCE_SECONDS[order_type]

    def sweep(self) -> None:
        """Look at everything that is open, now (after a reconnection)."""
        self._due.clear()
        self._wake.set()

    async def run(self) -> None:
        """Resolve for ever; ends by cancellation or `Fenced`."""
        while True:
            self._wake.clear()
            try:
                pause = await self._pass()
            except Retryable as error:
                logger.warning("resolving waits", extra={"error": str(error)})
                pause = error.after_seconds
            await wait_set(self._wake, pause)

    async def _pass(self) -> float:
        """Look at what is due; returns the seconds until the next look."""
        waiting = await self._book.unsettled()
        metrics.ORDERS_UNKNOWN.labels(broker=self._broker).set(
            sum(1 for order in waiting if is_open(order))
        )
        ids = {order.command_id for order in waiting}
        self._due = {key: at for key, at in self._due.items() if key in ids}
        for order in waiting:
            now = time.monotonic()
            if order.command_id in self.busy or self._due.get(order.command_id, 0.0) > now:
                continue
            self._due[order.command_id] = time.monotonic() + await self._resolve(order)
        if not self._due:
            return _SWEEP_SECONDS
        return min(max(min(self._due.values()) - time.monotonic(), 0.05), _SWEEP_SECONDS)

    async def _resolve(self, order: Order) -> float:
        try:
            after = await self._sender.resolve(order)
        except Fenced:
            raise
        except Retryable as error:
            after = max(error.after_seconds, _LOOK_AGAIN_SECONDS)
            logger.info(
                "order can't be looked up yet",
                extra={"client_order_id": order.request.client_order_id, "error": str(error)},
            )
        except (ExchangeRefused, AristobotError) as error:
            # The exchange refuses to tell (a revoked key, say). Only a person can end that; until
            # then the order stays unknown, is never sent again, and is asked about now and then.
            logger.error(
                "order can't be looked up",
                extra={"client_order_id": order.request.client_order_id, "error": str(error)},
            )
            after = _SWEEP_SECONDS
        except Exception:
            # A fault of ours with one order must not keep the others from being looked up. This
            # one stays as it is, unknown and not sent again, and is tried again.
            logger.exception(
                "looking an order up failed",
                extra={"client_order_id": order.request.client_order_id},
            )
            after = _SWEEP_SECONDS
        if after is not None:
            return max(after, 0.05)
        return _PATIENCE_SECONDS[order.request.type]
