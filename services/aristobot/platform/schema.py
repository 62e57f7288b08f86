"""Which schema this version needs, and whether a database has it.

Apart from `migrate.py`, because services only compare: Alembic would add 60 ms of CPU to the start
of each. A test holds the revision to the newest migration.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.core.errors import Misconfigured
from aristobot.platform.db import EVERY_OWNER, Database

REVISION = "0003"


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision of the database's schema; None when no migration has run."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


async def require_current_schema(database: Database) -> None:
    """Raise `Misconfigured` unless the schema is exactly the one this version needs."""
    async with database.transaction(EVERY_OWNER) as connection:
        found = await current_revision(connection)
    if found != REVISION:
        raise Misconfigured(
            f"the database schema is at {found or 'nothing'}, this version needs {REVISION}: "
            "run `aristobot migrate`"
        )
