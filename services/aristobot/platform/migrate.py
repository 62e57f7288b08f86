"""Brings the database's schema up to date.

Migrations only go forward. An advisory lock makes two migrating processes take turns. Services
never migrate: they compare (`schema.py`) and wait or say what to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.schema import REVISION, current_revision

_LOCK_ID = 7_241_955_001
_PAUSE_SECONDS = 1.0
_SAY_SECONDS = 5.0


def _upgrade(connection: Connection) -> None:
    # Imported only when there is something to migrate: most starts find a current schema.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def migrate(database: Database) -> None:
    """Apply what is missing. Raises `Retryable` when the database is away."""
    async with database.transaction(EVERY_OWNER) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK_ID})
        if await current_revision(connection) != REVISION:
            await connection.run_sync(_upgrade)


async def migrate_patiently(
    database: Database, *, timeout_seconds: float, say: Callable[[str], None]
) -> None:
    """`migrate` once the database answers; `say` is told every few seconds what is waited for.

    Raises `Misconfigured` when it has not answered for `timeout_seconds`, or refuses us.
    """
    began = time.monotonic()
    said = began - _SAY_SECONDS
    while True:
        try:
            await migrate(database)
            say(f"the database schema is at {REVISION}")
            return
        except Retryable as error:
            now = time.monotonic()
            if now - began >= timeout_seconds:
                raise Misconfigured(
                    f"the database at {database.place} did not answer for {timeout_seconds:g} s "
                    f"({error}): is it running, and is its address right?"
                ) from error
            if now - said >= _SAY_SECONDS:
                said = now
                say(f"waiting for the database at {database.place}: {error}")
            await asyncio.sleep(_PAUSE_SECONDS)
        except DBAPIError as error:
            cause = error.orig.__cause__ if error.orig is not None else None
            # Class 28: user or password; 3D: no such database (PostgreSQL manual, appendix A).
            if (getattr(cause, "sqlstate", None) or "")[:2] not in {"28", "3D"}:
                raise
            raise Misconfigured(
                f"PostgreSQL at {database.place} refuses ({cause}): check user, password and "
                "database in ARISTOBOT_DATABASE_URL"
            ) from error
