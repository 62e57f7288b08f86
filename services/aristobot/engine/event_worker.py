"""Moves positions by what the exchange reports: consumes ORDER_EVENTS, one after the other.

Events carry cumulative amounts and may repeat; what is already counted is kept per order, so each
execution counts once. All brokers' events are one queue, so none may hold it up: one that can't be
read, isn't of the gateway on whose subject it came, or is a fault each time, is given up, and the
order's next event makes up for it. Not here: profit and loss, and missing stops (the guardian's).
"""

from __future__ import annotations

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import OrderEvent
from aristobot.contracts.streams import event_subject
from aristobot.core.positions import Executed, apply_execution
from aristobot.engine import repository
from aristobot.engine.attempts import Attempts
from aristobot.platform import telemetry
from aristobot.platform.bus import Delivery
from aristobot.platform.db import Database
from aristobot.platform.own_messages import drop, read_own


class EventWorker:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._attempts = Attempts()

    async def handle(self, delivery: Delivery) -> None:
        """Apply one event. Raises `Retryable` when the database is away."""
        event = read_own(
            delivery, OrderEvent.model_validate_json, lambda event: event_subject(event.key)
        )
        if event is None:
            return

        async def give_up(why: str) -> None:
            drop(delivery, why)

        await self._attempts.act(delivery, lambda: self._apply(event, delivery), give_up)

    async def _apply(self, event: OrderEvent, delivery: Delivery) -> None:
        with telemetry.consumer_span(
            names.ORDERS_EVENTS,
            delivery.headers,
            {
                names.NATS_DELIVERY_COUNT: delivery.attempt,
                names.BROKER: str(event.key),
                names.CLIENT_ORDER_ID: event.client_order_id,
                names.OUTCOME: event.status.value,
            },
        ):
            now = Executed(event.executed_quantity, event.executed_quote, event.base_fee)
            async with self._database.transaction(event.owner) as connection:
                holding = repository.Holding(event.key, event.symbol, event.holder)
                position = await repository.lock_position(connection, holding)
                before = await repository.known_execution(connection, event.command_id)
                moved = apply_execution(
                    position,
                    command_id=event.command_id,
                    side=event.side,
                    status=event.status,
                    before=before,
                    now=now,
                )
                await repository.save_position(connection, holding, moved, event.at)
                if now.quantity >= before.quantity:
                    await repository.save_execution(connection, event, now)
