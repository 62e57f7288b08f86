"""Sizing waits for the broker's newest command, whichever kind of message it came from."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import insert

from aristobot.engine import repository
from aristobot.platform.tables import decisions, webhooks
from tests.component.gateway.conftest import Desk

NOW = datetime(2026, 11, 21, tzinfo=UTC)


async def _webhook(desk: Desk, sequence: int, command_id: str | None) -> None:
    values = {
        "id": f"w{sequence}-{desk.key.owner}",
        "owner": desk.key.owner,
        "broker": desk.key.broker,
        "stream_sequence": sequence,
        "delivery_key": "",
        "received_at": NOW,
        "source": "",
        "content_type": "",
        "body": b"",
        "outcome": "ordered",
        "command_id": command_id,
        "trace_id": "",
    }
    async with desk.database.transaction(desk.key.owner) as connection:
        await connection.execute(insert(webhooks).values(values))


async def _decision(desk: Desk, name: str, command_id: str | None) -> None:
    values = {
        "id": f"{name}-{desk.key.owner}",
        "owner": desk.key.owner,
        "broker": desk.key.broker,
        "active_strategy": name,
        "symbol": "BTCUSDT",
        "timeframe": "1m",
        "candle_close": NOW,
        "side": "buy",
        "asked_by": "strategy",
        "decided_at": NOW,
        "outcome": "ordered",
        "command_id": command_id,
        "trace_id": "",
    }
    async with desk.database.transaction(desk.key.owner) as connection:
        await connection.execute(insert(decisions).values(values))


async def test_the_newest_command_of_either_kind(desk: Desk) -> None:
    async def last() -> str | None:
        async with desk.database.transaction(desk.key.owner) as connection:
            found = await repository.last_command(connection, desk.key)
            identifier = f"w1-{desk.key.owner}"
            before = await repository.look_back_webhook(connection, desk.key, identifier)
        assert before.last_command == found
        return found

    assert await last() is None
    await _webhook(desk, 1, "first")
    assert await last() == "first"
    await _decision(desk, "a", "second")
    assert await last() == "second"
    await _webhook(desk, 2, None)  # it led to no order
    await _decision(desk, "b", None)
    assert await last() == "second"
    await _webhook(desk, 3, "third")
    assert await last() == "third"
