"""Hands an order command over: the position moves, and the command goes into the outbox.

Part of the transaction that records what the command came from, whether a webhook or a strategy's
decision, so that all of it happens or none.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import (
    CancelOrders,
    CommandEnvelope,
    PlaceOrder,
    ProtectPosition,
)
from aristobot.contracts.streams import BrokerKey, command_subject
from aristobot.core.positions import Position
from aristobot.engine import repository
from aristobot.platform import telemetry
from aristobot.platform.outbox import OutboxMessage, enqueue

#: How the name of each of our outbox queues begins.
PRODUCERS = "engine:"


def producer_of(key: BrokerKey) -> str:
    """The outbox queue of a broker's commands."""
    return f"{PRODUCERS}{key}"


def holding_of(command: PlaceOrder | ProtectPosition | CancelOrders) -> repository.Holding:
    """Whose position the command moves."""
    return repository.Holding(command.key, command.symbol, command.holder)


async def hand_over(
    connection: AsyncConnection,
    command: PlaceOrder | ProtectPosition | CancelOrders,
    position: Position,
    at: datetime,
) -> None:
    """Save the position as the command leaves it, and enqueue the command."""
    await repository.save_position(connection, holding_of(command), position, at)
    with telemetry.producer_span(names.ORDERS_COMMANDS) as carrier:
        await enqueue(
            connection,
            owner=command.owner,
            producer=producer_of(command.key),
            message=OutboxMessage(
                subject=command_subject(command.key),
                message_id=command.command_id,
                payload=CommandEnvelope(command=command).encode(),
                headers=carrier,
            ),
        )
