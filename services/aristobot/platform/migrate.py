"""Brings the database's schema up to date.

Migrations only go forward. An advisory lock makes two migrating processes take turns. Services
never migrate: they compare (`schema.py`) and wait or say what to do.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.schema import REVISION, current_revision

_LOCK_ID = 7_241_955_001


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
