"""PostgreSQL: one engine per process, one transaction per unit of work, always for one owner.

`Database.transaction(owner)` is the only way to the tables. It tells PostgreSQL the owner, and
row-level security then hides every other owner's rows, whatever the query says. A connection
problem becomes `Retryable`, so that callers need to know no driver. A connection that doesn't
answer casts doubt on all that are as old: they are replaced at their next use, or each would cost
somebody a timeout after the server's machine is lost. Not here: queries, and the schema
(`tables.py`, `migrations/`).
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.statements import driver_of

#: The owner of platform work that spans owners (executor, CLI listings by the operator).
EVERY_OWNER = "*"

_IDLE_IN_TRANSACTION_MS = 5000
#: InternalClientError: a server that dies in the middle of an answer can leave the driver in a
#: state that it didn't expect; the connection is of no use any more.
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def _driver_url(url: str) -> Any:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Misconfigured(
            "the database URL can't be read; it looks like postgresql://user:password@host:5432/db"
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise Misconfigured(f"the database must be PostgreSQL, not {parsed.get_backend_name()}")
    return parsed.set(drivername="postgresql+asyncpg")


class Database:
    """A pool of connections. `statement_timeout_seconds` bounds every single statement."""

    def __init__(
        self,
        url: str,
        *,
        service: str,
        pool_size: int = 5,
        connect_timeout_seconds: float = 5.0,
        statement_timeout_seconds: float = 10.0,
    ) -> None:
        self._engine = create_async_engine(
            _driver_url(url),
            # Transactions are asyncpg's own (see `transaction`); SQLAlchemy must open none beside.
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=statement_timeout_seconds,
            connect_args={
                "timeout": connect_timeout_seconds,
                "command_timeout": statement_timeout_seconds,
                "server_settings": {
                    "application_name": f"aristobot-{service}",
                    "jit": "off",
                    # A process that is frozen in a transaction must not keep its locks, and with
                    # them whoever takes its place (a gateway's lease), for as long as it hangs.
                    "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
                },
            },
        )
        #: Connections that were opened before are not trusted any more.
        self._doubted_at = -math.inf

    @property
    def place(self) -> str:
        """Host and port; never the user and password."""
        url = self._engine.url
        return f"{url.host or 'localhost'}:{url.port or 5432}"

    @asynccontextmanager
    async def transaction(
        self, owner: str, *, waits_for_disk: bool = True
    ) -> AsyncIterator[AsyncConnection]:
        """Run one transaction that sees `owner`'s rows (`EVERY_OWNER`: all).

        `waits_for_disk` False: a crash of the server may take back the last half second of such
        transactions, each as a whole; only for what is harmless to lose. Raises `Retryable` when
        the database is away or can't do it now. If the connection breaks in COMMIT, whether it
        happened is unknown: callers make their work repeatable by deterministic keys.
        """
        try:
            async with self._engine.connect() as connection:
                driver = await self._open_driver(connection)
                try:
                    await driver.execute(_begin(owner, waits_for_disk=waits_for_disk))
                    try:
                        yield connection
                    except BaseException:
                        await driver.execute("ROLLBACK")
                        raise
                    if await driver.execute("COMMIT") != "COMMIT":
                        # A failed statement whose error somebody has swallowed.
                        raise RuntimeError("the transaction was rolled back")
                finally:
                    if driver.is_closed() or driver.is_in_transaction():
                        await connection.invalidate()  # nobody may get it from the pool
        except PoolTimeoutError as error:
            # All connections are busy with a server that hangs or is coming back.
            raise Retryable("the database is away: no connection became free in time") from error
        except (DBAPIError, OSError, *_DRIVER_ERRORS) as error:
            if _may_pass(error):
                if isinstance(error, OSError):
                    self._doubted_at = time.monotonic()
                text = f"the database is away or can't do it now: {_first_line(error)}"
                raise Retryable(text) from error
            raise

    async def _open_driver(self, connection: AsyncConnection) -> Any:
        """The asyncpg connection; another if the server went away while it lay in the pool."""
        while True:
            driver = driver_of(connection)
            if connection.info.setdefault("opened_at", time.monotonic()) < self._doubted_at:
                driver.terminate()
            if not driver.is_closed():
                return driver
            await connection.invalidate()
            await connection.get_raw_connection()  # the pool's next one, or else a new one

    async def ping(self) -> None:
        """Raise `Retryable` when the database doesn't answer."""
        async with self.transaction(EVERY_OWNER) as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._engine.dispose()


def _begin(owner: str, *, waits_for_disk: bool) -> str:
    """Begin and set the owner in one round trip.

    Begin, owner and commit take 280 us of CPU through SQLAlchemy and 90 us so; an alert has a dozen
    transactions on its way to a fill. Several statements at once can't have parameters, so the
    owner is a literal (in which only the quote is special: standard_conforming_strings is on).
    """
    literal = owner.replace("'", "''")
    relaxed = "" if waits_for_disk else "; SET LOCAL synchronous_commit = off"
    return f"BEGIN; SELECT set_config('aristobot.owner', '{literal}', true){relaxed}"


#: SQLSTATEs by their beginning (PostgreSQL manual, appendix A).
_MAY_PASS = (
    "08",  # a broken connection
    "25006",  # a server that became a standby
    "25P03",  # a session that was idle in its transaction for too long
    "40",  # a deadlock, or another conflict for which it was rolled back
    "53",  # a server without room
    "57P",  # one that stops or starts
    "58",  # one whose disk or system fails
)


def _may_pass(error: BaseException) -> bool:
    """Whether the connection or the server is at fault, and not the statement.

    The same may succeed later, and whoever gives up after some failures mustn't count this one.
    OSError covers TimeoutError.
    """
    if isinstance(error, DBAPIError):
        if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
            return True
        cause: BaseException = error.orig or error
        cause = cause.__cause__ or cause
    else:
        cause = error
    state = getattr(cause, "sqlstate", None) or ""
    return isinstance(
        cause, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError
    ) or state.startswith(_MAY_PASS)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).splitlines()
    return lines[0] if lines else type(cause).__name__
