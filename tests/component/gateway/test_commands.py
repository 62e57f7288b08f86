"""A command that can't be read holds up nothing, and an order among them doesn't vanish."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from aristobot.contracts.messages import (
    CommandEnvelope,
    PlaceOrder,
    QueryEnvelope,
    QueryReply,
    SizingQuery,
)
from aristobot.contracts.streams import ORDERS, command_subject, query_subject
from aristobot.core.orders import Side
from aristobot.platform import metrics
from tests.component.gateway.conftest import HOLDER, SYMBOL, Desk, levels


async def publish(desk: Desk, payload: bytes) -> None:
    await desk.bus.publish(
        ORDERS,
        command_subject(desk.key),
        payload,
        message_id=secrets.token_hex(16),
        headers={},
    )


def changed(command: PlaceOrder, **fields: Any) -> bytes:
    """The command as a later version might send it."""
    content = json.loads(CommandEnvelope(command=command).encode())
    content["command"] |= fields
    return json.dumps(content).encode()


def dropped() -> float:
    return metrics.MESSAGES_DROPPED.labels(stream=ORDERS.name)._value.get()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "place_list"},  # a kind that is not known yet
        {"kind": "cancel", "client_order_id": 5},
        {"command_id": None},  # there is no row to write
        {"broker": "another"},
        {"broker": "no. name"},
    ],
)
async def test_what_is_not_understood_is_dropped_and_the_next_is_carried_out(
    desk: Desk, fields: dict[str, Any]
) -> None:
    before = dropped()
    await publish(desk, changed(desk.command(Side.BUY, quantity="0.1"), **fields))
    await publish(desk, b"no JSON")
    order = await desk.send(desk.command(Side.BUY, quantity="0.01"))
    assert (await desk.ended(order))["status"] == "filled"
    assert [row["command_id"] for row in await desk.rows()] == [order.command_id]
    assert dropped() == before + 2


@pytest.mark.parametrize(
    "fields",
    [{"type": "iceberg"}, {"quantity": "-1"}, {"quote_quantity": "5"}, {"protection": 5}],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("side", list(Side))
async def test_an_order_that_cannot_be_read_is_refused(
    desk: Desk, side: Side, fields: dict[str, Any]
) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    before = dropped()
    command = desk.command(side, quantity="0.05")
    await publish(desk, changed(command, **fields))
    row = await desk.ended(command)
    assert (row["status"], row["code"], row["holder"]) == ("rejected", "unreadable", HOLDER)
    assert next(iter(fields)) in row["reason"] or "exactly one" in row["reason"]
    assert (await desk.told(command.command_id, "rejected")).side is side
    # Nobody waits for it, and what protects the position stays.
    query = QueryEnvelope(query=SizingQuery(symbol=SYMBOL, after_command=command.command_id))
    data = await desk.bus.request(query_subject(desk.key), query.encode(), timeout_seconds=5)
    assert QueryReply.model_validate_json(data).sizing is not None
    assert len(await desk.protected(entry)) == 2
    assert len(await desk.open_at_exchange()) == 2
    assert dropped() == before
