"""SQL of the hot path: SQLAlchemy statements, compiled once and executed on asyncpg itself.

Executing through SQLAlchemy costs 200 to 250 us of CPU for a statement that is built anew, 90 us
for one built once, and 14 us here; an alert on its way to an order needs about forty. So the
statements of that way are module constants of this kind. They run in the transaction that
`Database.transaction` opened, on the same connection. Everything that isn't run for every alert
keeps to SQLAlchemy's own execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import ClauseElement

_DIALECT = dialect()  # type: ignore[no-untyped-call]


def driver_of(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath `connection`, which must be connected."""
    sync = connection.sync_connection
    if sync is None:
        raise RuntimeError("the connection is not open")
    return sync.connection.driver_connection


class Statement:
    """One statement with named parameters. `columns`: those that an INSERT is given.

    `IN` over a parameter is not supported (asyncpg has no such parameter): use `any_`.
    """

    def __init__(self, clause: ClauseElement, *, columns: Iterable[str] | None = None) -> None:
        compiled = clause.compile(
            dialect=_DIALECT, column_keys=list(columns) if columns is not None else None
        )
        self._sql = str(compiled)
        order: Sequence[str] = compiled.positiontup or ()  # type: ignore[attr-defined]
        binds = compiled.binds  # type: ignore[attr-defined]
        self._constants = {name: binds[name].value for name in order if not binds[name].required}
        self._needed = frozenset(order) - self._constants.keys()
        self._order: list[tuple[str, Callable[[Any], Any] | None]] = [
            # Only JSON needs one: all other types asyncpg takes as they are.
            (name, binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
            for name in order
        ]

    def _arguments(self, values: dict[str, Any]) -> list[Any]:
        if values.keys() != self._needed:
            wrong = ", ".join(sorted(values.keys() ^ self._needed))
            raise TypeError(f"missing or superfluous parameters: {wrong}")
        if self._constants:
            values = values | self._constants
        return [
            values[name] if process is None or values[name] is None else process(values[name])
            for name, process in self._order
        ]

    async def rows(self, connection: AsyncConnection, **values: Any) -> list[asyncpg.Record]:
        """Execute and return every row."""
        found: list[asyncpg.Record] = await driver_of(connection).fetch(
            self._sql, *self._arguments(values)
        )
        return found

    async def row(self, connection: AsyncConnection, **values: Any) -> asyncpg.Record | None:
        """Execute and return the first row; None when there is none."""
        found: asyncpg.Record | None = await driver_of(connection).fetchrow(
            self._sql, *self._arguments(values)
        )
        return found

    async def value(self, connection: AsyncConnection, **values: Any) -> Any:
        """Execute and return the first row's first column; None when there is no row."""
        return await driver_of(connection).fetchval(self._sql, *self._arguments(values))

    async def run(self, connection: AsyncConnection, **values: Any) -> None:
        """Execute for the effect alone."""
        await driver_of(connection).execute(self._sql, *self._arguments(values))

    async def run_many(self, connection: AsyncConnection, many: Sequence[dict[str, Any]]) -> None:
        """Execute for each of `many` in one round trip."""
        await driver_of(connection).executemany(
            self._sql, [self._arguments(values) for values in many]
        )
