"""Follows the account's private stream: fills and balances as they happen.

Only a shortcut: whatever it misses is found over REST by the resolver and the account view, which
are both told of every interruption.
"""

from __future__ import annotations

import logging

from aristobot.contracts import trace_names as names
from aristobot.core.errors import Retryable
from aristobot.core.orders import is_final
from aristobot.exchanges.port import (
    BalancesUpdated,
    ExchangeClient,
    OrderUpdated,
    StreamConnected,
    StreamLost,
)
from aristobot.gateway.account_view import AccountView
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.resolver import Resolver
from aristobot.gateway.sender import Sender
from aristobot.platform import telemetry
from aristobot.platform.waiting import pause

logger = logging.getLogger(__name__)


class StreamWorker:
    def __init__(
        self,
        client: ExchangeClient,
        book: OrderBook,
        account: AccountView,
        sender: Sender,
        resolver: Resolver,
    ) -> None:
        self._client = client
        self._book = book
        self._account = account
        self._sender = sender
        self._resolver = resolver

    async def run(self) -> None:
        """Follow for ever; the stream reconnects by itself."""
        async for event in self._client.stream():
            match event:
                case StreamConnected():
                    logger.info("private stream connected")
                    self._account.stream_connected()
                    self._resolver.sweep()
                case StreamLost(reason=reason):
                    logger.warning("private stream lost", extra={"reason": reason})
                    self._account.stream_lost()
                case BalancesUpdated():
                    self._account.apply(event)
                case OrderUpdated():
                    self._account.stream_told(event.report)
                    await self._order_updated(event)

    async def _order_updated(self, event: OrderUpdated) -> None:
        report = event.report
        while True:
            try:
                order = await self._book.find_by_client_id(report.client_order_id)
                if order is None:
                    return  # placed by hand or by another program; not ours to follow here
                if is_final(order.status) and order.executed_quantity >= report.executed_quantity:
                    # The answer to placing it has told all of this, as for every market order: the
                    # two transactions that would find so, twice, hold up the balances behind them.
                    self._account.order_changed(report)
                    return
                with telemetry.resumed_span(
                    names.APPLY_FILL,
                    order.traceparent,
                    {
                        names.CLIENT_ORDER_ID: report.client_order_id,
                        names.SYMBOL: report.symbol,
                        names.OUTCOME: report.status.value,
                    },
                ):
                    await self._sender.take_report(order, report, None, "stream")
                return
            except Retryable as error:
                logger.warning("order update waits", extra={"error": str(error)})
                await pause(error.after_seconds)
