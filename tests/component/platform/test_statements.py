"""Statements compiled once, and the transactions they run in: same rules as through SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest
from sqlalchemy import bindparam, insert, select, text

from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Retryable
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.statements import Statement, driver_of
from aristobot.platform.tables import journal, positions

_COLUMNS = ("owner", "broker", "symbol", "state", "quantity", "updated_at")
_INSERT = Statement(insert(positions).returning(positions.c.cost), columns=_COLUMNS)
_BY_SYMBOL = Statement(
    select(positions.c.quantity, positions.c.updated_at, positions.c.stop_loss_price).where(
        positions.c.symbol == bindparam("symbol"), positions.c.state == "flat"
    )
)
_AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def _position(owner: str, symbol: str = "BTCUSDT") -> dict[str, object]:
    quantity = Decimal("0.123456789012345678")
    return {
        "owner": owner,
        "broker": "main",
        "symbol": symbol,
        "state": "flat",
        "quantity": quantity,
        "updated_at": _AT,
    }


async def test_values_come_back_as_they_went(database: Database, key: BrokerKey) -> None:
    async with database.transaction(key.owner) as connection:
        cost = await _INSERT.value(connection, **_position(key.owner))
        row = await _BY_SYMBOL.row(connection, symbol="BTCUSDT")
        nothing = await _BY_SYMBOL.row(connection, symbol="ETHUSDT")
    assert (cost, nothing) == (Decimal(0), None)
    assert row is not None
    assert tuple(row) == (Decimal("0.123456789012345678"), _AT, None)


async def test_many_at_once(database: Database, key: BrokerKey) -> None:
    many = [_position(key.owner, symbol) for symbol in ("A", "B", "C")]
    async with database.transaction(key.owner) as connection:
        await _INSERT.run_many(connection, many)
        rows = await Statement(select(positions.c.symbol)).rows(connection)
    assert sorted(row["symbol"] for row in rows) == ["A", "B", "C"]


async def test_json_goes_in_and_comes_out(database: Database, key: BrokerKey) -> None:
    values = {
        "owner": key.owner,
        "broker": key.broker,
        "purpose": "place",
        "asked_by": "webhook",
        "method": "POST",
        "path": "/",
        "params": {"symbol": "BTCUSDT", "note": "é"},
        "sent_at": _AT,
        "duration_ms": Decimal(1),
    }
    statement = Statement(insert(journal).returning(journal.c.params), columns=values)
    async with database.transaction(key.owner) as connection:
        assert await statement.value(connection, **values) == values["params"]


@pytest.mark.parametrize("values", [{}, {"symbol": "A", "state": "flat"}])
async def test_wrong_parameters_are_refused(
    database: Database, key: BrokerKey, values: dict[str, object]
) -> None:
    async with database.transaction(key.owner) as connection:
        with pytest.raises(TypeError, match=r"parameters: (symbol|state)"):
            await _BY_SYMBOL.row(connection, **values)


async def test_an_owner_stays_within_its_rows(database: Database, key: BrokerKey) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction("o'ther; --") as connection:
            await _INSERT.run(connection, **_position(key.owner))
    async with database.transaction("o'ther; --") as connection:
        await _INSERT.run(connection, **_position("o'ther; --", key.broker))
    async with database.transaction(key.owner) as connection:
        assert await _BY_SYMBOL.row(connection, symbol=key.broker) is None


async def test_a_failed_statement_takes_everything_back(database: Database, key: BrokerKey) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction(key.owner) as connection:
            for _ in range(2):
                await _INSERT.run(connection, **_position(key.owner))
    async with database.transaction(key.owner) as connection:
        assert await _BY_SYMBOL.row(connection, symbol="BTCUSDT") is None


async def test_a_swallowed_failure_is_not_a_commit(database: Database, key: BrokerKey) -> None:
    with pytest.raises(RuntimeError, match="rolled back"):
        async with database.transaction(key.owner) as connection:
            await _INSERT.run(connection, **_position(key.owner))
            with pytest.raises(asyncpg.UniqueViolationError):
                await _INSERT.run(connection, **_position(key.owner))


async def test_a_lost_connection_is_retryable_and_replaced(database: Database) -> None:
    with pytest.raises(Retryable):
        async with database.transaction(EVERY_OWNER) as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with database.transaction(EVERY_OWNER) as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_a_connection_that_died_in_the_pool_is_replaced(database: Database) -> None:
    async with database.transaction(EVERY_OWNER) as connection:
        driver = driver_of(connection)
    driver.terminate()
    await database.ping()


async def test_what_need_not_wait_for_the_disk_says_so(database: Database) -> None:
    show = Statement(text("SHOW synchronous_commit"))
    async with database.transaction(EVERY_OWNER, waits_for_disk=False) as connection:
        assert await show.value(connection) == "off"
    async with database.transaction(EVERY_OWNER) as connection:
        assert await show.value(connection) == "on"
