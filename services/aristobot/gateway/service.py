"""The gateway's process: one broker account, its commands, its stream, its questions.

Start order: take the lease (whoever had it is fenced), reach the exchange, look up what an
earlier gateway left open, then take commands. Deliberately not here: any decision to trade.
"""

from __future__ import annotations

import asyncio
import logging

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import (
    CancelOrder,
    CancelOrders,
    PlaceOrder,
    ProtectPosition,
)
from aristobot.contracts.streams import (
    ORDER_EVENTS,
    ORDERS,
    BrokerKey,
    command_subject,
    gateway_consumer,
    query_subject,
)
from aristobot.core.errors import Retryable
from aristobot.core.orders import Side
from aristobot.exchanges.port import ExchangeClient
from aristobot.gateway.account_view import AccountView
from aristobot.gateway.commands import UnreadableOrder, read_command
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.outcomes import Outcomes
from aristobot.gateway.protection_book import ProtectionBook
from aristobot.gateway.protector import Protector
from aristobot.gateway.queries import Queries
from aristobot.gateway.resolver import Resolver
from aristobot.gateway.sender import Sender
from aristobot.gateway.settlement import Settlement
from aristobot.gateway.stream_worker import StreamWorker
from aristobot.gateway.transactions import Transactions, producer_of
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxPublisher
from aristobot.platform.own_messages import read_own
from aristobot.platform.waiting import patiently

logger = logging.getLogger(__name__)

_EVENTS_POLL_SECONDS = 2.0


class Gateway:
    """Runs until cancelled, or until `Fenced` because another gateway took over."""

    def __init__(
        self,
        key: BrokerKey,
        *,
        bus: Bus,
        database: Database,
        client: ExchangeClient,
        venue: str,
        market: str,
        holder: str,
    ) -> None:
        self._key = key
        self._bus = bus
        self._database = database
        self._client = client
        self._holder = holder
        self._account = AccountView(client)
        self._transactions = Transactions(database, key, self._account.base_of)
        protection = ProtectionBook(self._transactions, self._account.known_rules)
        self._book = OrderBook(self._transactions, protection)
        self._settlement = Settlement(self._book)
        self._sender = Sender(
            client,
            self._book,
            Outcomes(self._transactions, protection),
            self._account,
            self._settlement,
            broker=str(key),
            venue=venue,
        )
        self._resolver = Resolver(self._book, self._sender, broker=str(key))
        self._protector = Protector(
            self._book,
            protection,
            self._sender,
            self._resolver,
            self._account,
            client.now_ms,
            self._transactions.planned,
        )
        self._queries = Queries(client, self._account, self._settlement, protection, market=market)
        self._outbox = OutboxPublisher(database, bus, ORDER_EVENTS)
        self._is_started = False

    async def problems(self) -> list[str]:
        """What keeps the gateway from working now; empty when ready."""
        found = []
        if not self._bus.is_connected:
            found.append("NATS is not connected")
        if not self._is_started:
            found.append("the exchange has not been reached yet")
        try:
            await self._database.ping()
        except Retryable as error:
            found.append(str(error))
        return found

    async def run(self) -> None:
        await patiently("lease", lambda: self._transactions.take_lease(self._holder))
        await patiently("exchange", self._client.connect)
        await patiently("symbols", self._account.load_symbols)
        self._is_started = True
        logger.info("gateway started", extra={"broker": str(self._key)})
        stream = StreamWorker(self._client, self._book, self._account, self._sender, self._resolver)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.run(), name="private stream")
            tasks.create_task(self._resolver.run(), name="resolver")
            tasks.create_task(self._protector.run(), name="protector")
            tasks.create_task(self._publish_events(), name="order events")
            tasks.create_task(
                self._bus.consume(
                    ORDERS,
                    command_subject(self._key),
                    gateway_consumer(self._key),
                    self._handle,
                ),
                name="commands",
            )
            await self._bus.serve(query_subject(self._key), self._queries.respond, tasks)

    async def _handle(self, delivery: Delivery) -> None:
        """Carry out one command. `Fenced` ends the process before anything is sent."""
        command = read_own(delivery, read_command, lambda read: command_subject(read.key))
        if command is None:
            return
        with telemetry.consumer_span(
            names.ORDERS_COMMANDS,
            delivery.headers,
            {
                names.NATS_DELIVERY_COUNT: delivery.attempt,
                names.BROKER: str(self._key),
                names.COMMAND_ID: command.command_id,
            },
        ) as span:
            match command:
                case PlaceOrder():
                    span.set_attribute(names.CLIENT_ORDER_ID, command.client_order_id)
                    await self._place(command)
                case CancelOrder():
                    span.set_attribute(names.CLIENT_ORDER_ID, command.client_order_id)
                    await self._sender.cancel(command)
                case ProtectPosition():
                    await self._protector.replace(command)
                case CancelOrders():
                    await self._protector.cancel_all(command)
                case UnreadableOrder():
                    await self._protector.refuse(command.refusable, "unreadable", command.reason)

    async def _place(self, command: PlaceOrder) -> None:
        self._resolver.busy.add(command.command_id)
        try:
            sells = command.side is Side.SELL
            place = self._protector.sell if sells else self._sender.place
            look_after = await place(command)
        finally:
            self._resolver.busy.discard(command.command_id)
        if look_after is None:
            self._resolver.placed(command.command_id, command.type)
        else:
            self._resolver.schedule(command.command_id, look_after)

    async def _publish_events(self) -> None:
        while True:
            self._transactions.announced.forget()
            try:
                await self._outbox.flush(owner=self._key.owner, producer=producer_of(self._key))
            except Retryable as error:
                logger.warning("order events wait", extra={"error": str(error)})
            await self._transactions.announced.wait(_EVENTS_POLL_SECONDS)
