"""Asks, before anything is started, whether the servers that the user named instead of ours answer.

Every part would wait for them for ever and in silence; a wrong address or password is told here
instead, in one line. Not here: servers that go away later, for which the parts do wait.
"""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy.exc import DBAPIError

from aristobot.contracts import nats_roles
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database

_NATS_SECONDS = 5.0


async def require_nats(url: str, credentials: str | None) -> None:
    """Raise `Misconfigured`, naming the server, when no NATS server answers at `url`."""
    try:
        bus = await Bus.connect(
            url,
            name="platform",
            credentials=credentials,
            inbox_prefix=nats_roles.admin().inbox_prefix,
            timeout_seconds=_NATS_SECONDS,
        )
    except Retryable as error:
        raise Misconfigured(
            f"no NATS server answers at {_place(url)}: start it, or name another with --nats-url"
        ) from error
    await bus.close()


async def require_database(url: str) -> None:
    """Raise `Misconfigured`, naming the server and its own words, when it can't be used."""
    database = Database(url, service="platform", pool_size=1)
    try:
        await database.ping()
    except Retryable as error:
        raise Misconfigured(
            f"no PostgreSQL answers at {_place(url)}: start it, or name another with --database-url"
        ) from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        words = str(cause).splitlines()
        raise Misconfigured(
            f"PostgreSQL at {_place(url)} refuses ({words[0] if words else type(cause).__name__}): "
            "check --database-url"
        ) from error
    finally:
        await database.close()


def _place(url: str) -> str:
    """Host and port; never the user and password that a URL may hold."""
    with contextlib.suppress(ValueError):  # a port that is no number: say all but the user
        parts = urlsplit(url)
        if parts.hostname:
            return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return url.rpartition("@")[2]
