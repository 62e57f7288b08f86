"""Which schema this version needs, and whether a database has it.

Apart from `migrate.py`, because services only compare: Alembic would add 60 ms of CPU to the start
of each. A test holds the revision to the newest migration.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.db import EVERY_OWNER, Database

REVISION = "0003"


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision of the database's schema; None when no migration has run."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


async def require_current_schema(database: Database) -> None:
    """Raise `Retryable` while the schema is older than this version needs: someone migrates.

    In a cluster all parts start at once, and only one of them migrates. Raises `Misconfigured` for
    a schema that a newer version has made, which no waiting cures.
    """
    async with database.transaction(EVERY_OWNER) as connection:
        found = await current_revision(connection)
    if found is None or found < REVISION:  # revisions are numbers of four digits
        raise Retryable(
            f"the database schema is at {found or 'nothing'}, this version needs {REVISION}: "
            "`aristobot migrate` brings it there"
        )
    if found > REVISION:
        raise Misconfigured(
            f"the database schema is at {found}, and this version knows {REVISION} at most: use "
            "the version that migrated it, or a newer one"
        )
