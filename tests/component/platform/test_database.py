"""What the database keeps whatever the queries say: owners apart, and a journal that only grows."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import delete, func, insert, make_url, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.heartbeat.store import HeartbeatStore
from aristobot.platform import migrations, tables_spans
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.migrate import migrate
from aristobot.platform.schema import REVISION, require_current_schema
from aristobot.platform.tables import ORDER_IS_OPEN, OWNED_TABLES, journal, orders, positions
from aristobot.platform.tables_base import metadata


def _position(owner: str) -> dict[str, object]:
    return {"owner": owner, "broker": "main", "symbol": "BTCUSDT", "state": "flat"}


async def test_an_owner_sees_and_changes_only_its_own_rows(
    database: Database, key: BrokerKey
) -> None:
    other = f"{key.owner}-other"
    async with database.transaction(key.owner) as mine:
        await mine.execute(insert(positions).values(_position(key.owner)))
    async with database.transaction(other) as theirs:
        await theirs.execute(insert(positions).values(_position(other)))
        assert (await theirs.execute(select(positions.c.owner))).scalars().all() == [other]
        changed = await theirs.execute(update(positions).values(state="open"))
        assert changed.rowcount == 1
    async with database.transaction(key.owner) as mine:
        assert await mine.scalar(select(positions.c.state)) == "flat"
    async with database.transaction(EVERY_OWNER) as everybody:
        seen = set((await everybody.execute(select(positions.c.owner))).scalars())
        assert {key.owner, other} <= seen


async def test_a_row_of_another_owner_cannot_be_written(database: Database, key: BrokerKey) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction(key.owner) as connection:
            await connection.execute(insert(positions).values(_position("somebody-else")))


@pytest.mark.parametrize(
    ("state", "may_pass"),
    [
        ("40P01", True),  # a deadlock
        ("40001", True),
        ("53100", True),  # the disk is full
        ("25006", True),  # a standby
        ("58030", True),  # the disk fails
        ("23505", False),
        ("42P01", False),
    ],
)
async def test_what_a_server_can_t_do_now_is_to_be_tried_again(
    database: Database, state: str, may_pass: bool
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(Retryable if may_pass else DBAPIError, match="on purpose"):
        async with database.transaction(EVERY_OWNER) as connection:
            await connection.execute(text(raising))
    await database.ping()


async def test_every_table_with_an_owner_is_protected(database: Database) -> None:
    async with database.transaction(EVERY_OWNER) as connection:
        with_owner = set(
            (
                await connection.execute(
                    text(
                        "SELECT table_name FROM information_schema.columns "
                        "WHERE table_schema = 'public' AND column_name = 'owner'"
                    )
                )
            ).scalars()
        )
        protected = set(
            (
                await connection.execute(
                    text(
                        "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity"
                    )
                )
            ).scalars()
        )
    assert with_owner == protected == {table.name for table in OWNED_TABLES}


@pytest.mark.parametrize("change", [update(journal).values(path="/x"), delete(journal)])
async def test_the_journal_only_grows(database: Database, key: BrokerKey, change: object) -> None:
    async with database.transaction(key.owner) as connection:
        await connection.execute(
            insert(journal).values(
                owner=key.owner,
                broker=key.broker,
                purpose="place",
                asked_by="webhook",
                method="POST",
                path="/api/v3/order",
                params={},
                sent_at=datetime.now(UTC),
                duration_ms=Decimal(1),
            )
        )
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.transaction(key.owner) as connection:
            await connection.execute(change)  # type: ignore[call-overload]
    async with database.transaction(key.owner) as connection:
        assert await connection.scalar(select(func.count()).select_from(journal)) == 1


class Cable:
    """Stands between us and the server. Cut, it loses all that goes through what is open."""

    def __init__(self, host: str, port: int) -> None:
        self._place = host, port
        self._ends: list[asyncio.StreamWriter] = []
        self._carried: list[asyncio.Task[None]] = []

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(*self._place)
        self._ends += [writer, onward]
        self._carried += [
            asyncio.create_task(self._carry(reader, onward)),
            asyncio.create_task(self._carry(there, writer)),
        ]

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    def cut(self) -> None:
        """As when a machine is lost: nobody says that a connection has ended."""
        for task in self._carried:
            task.cancel()

    async def close(self) -> None:
        self.cut()
        for end in self._ends:
            end.close()
        self._server.close()


async def test_a_lost_server_costs_one_timeout_and_not_one_for_each_connection(
    postgres_url: str,
) -> None:
    url = make_url(postgres_url)
    cable = Cable(str(url.host), url.port or 5432)
    through = url.set(host="127.0.0.1", port=await cable.open())
    database = Database(
        through.render_as_string(hide_password=False), service="test", statement_timeout_seconds=1.0
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(5):
                connection = await stack.enter_async_context(database.transaction(EVERY_OWNER))
                await connection.execute(text("SELECT 1"))
        cable.cut()
        with pytest.raises(Retryable):
            await database.ping()
        for _ in range(10):
            await database.ping()
    finally:
        await database.close()
        await cable.close()


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    await migrate(database)
    await require_current_schema(database)


@pytest.mark.parametrize(
    ("found", "raises", "says"),
    [
        ("0001", Retryable, "is at 0001, this version needs"),
        (None, Retryable, "is at nothing"),
        ("9999", Misconfigured, "use the version that migrated it"),
    ],
)
async def test_an_older_schema_is_waited_for_and_a_newer_one_refused(
    database: Database, found: str | None, raises: type[Exception], says: str
) -> None:
    await _set_revision(database, found)
    try:
        with pytest.raises(raises, match=says):
            await require_current_schema(database)
    finally:
        await _set_revision(database, REVISION)


async def test_a_heartbeat_waits_for_its_tables(database: Database) -> None:
    """In a cluster it starts beside the part that makes them."""
    store = HeartbeatStore(database, "binance", "a")
    await _set_revision(database, None)
    try:
        for ask in (store.stored("BTCUSDT", datetime.now(UTC)), store.settle_gaps()):
            with pytest.raises(Retryable, match="is at nothing"):
                await ask
    finally:
        await _set_revision(database, REVISION)
    assert await store.stored("BTCUSDT", datetime.now(UTC)) == []


async def _set_revision(database: Database, revision: str | None) -> None:
    async with database.transaction(EVERY_OWNER) as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        if revision is not None:
            insert = text("INSERT INTO alembic_version VALUES (:revision)")
            await connection.execute(insert, {"revision": revision})


async def test_open_orders_are_found_by_the_index_of_those(
    database: Database, key: BrokerKey
) -> None:
    """It serves only what says the same as the migration that made it."""
    query = select(orders.c.command_id).where(
        orders.c.owner == key.owner, orders.c.broker == key.broker, ORDER_IS_OPEN
    )
    async with database.transaction(key.owner) as connection:
        sql = str(
            query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        )
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        lines = (await connection.execute(text(f"EXPLAIN {sql}"))).scalars().all()
    assert "ix_orders_unsettled" in "".join(lines)


def test_the_revision_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_current_head() == REVISION


async def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    async with database.transaction(EVERY_OWNER) as connection:
        differences = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), metadata)
        )
    assert tables_spans.spans.metadata is metadata
    assert differences == []


async def test_a_database_that_is_away_is_retryable() -> None:
    away = Database("postgresql://nobody:x@127.0.0.1:1/none", service="test")
    with pytest.raises(Retryable):
        await away.ping()
    await away.close()
