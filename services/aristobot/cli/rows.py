"""Reading an owner's rows for the commands that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Select

from aristobot.cli.session import open_session


async def read_rows(data: Path, owner: str, *queries: Select[Any]) -> list[list[dict[str, Any]]]:
    """The rows of each query, as `owner` may see them, all at one moment."""
    async with open_session(data) as session, session.database.transaction(owner) as connection:
        return [
            [dict(row) for row in (await connection.execute(query)).mappings()] for query in queries
        ]
