"""Tells when a resource or secret changed, by PostgreSQL's LISTEN, so that executors need not poll.

A lost connection may have lost notices, so each new one counts as a change. Whoever listens reads
the store anew; a notice carries no content.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import asyncpg

from aristobot.platform.postgres_store import CHANNEL

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.5


async def watch_resources(database_url: str, wake: Callable[[], None]) -> None:
    """Call `wake` after every change, for ever; ends on cancellation."""
    while True:
        try:
            connection = await asyncpg.connect(database_url, timeout=_CONNECT_SECONDS)
        except (OSError, asyncpg.PostgresError, TimeoutError) as error:
            logger.warning("resources can't be watched yet", extra={"error": str(error)})
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _, ended=ended: ended.set())
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.add_listener(CHANNEL, lambda *_: wake())
            wake()
            await ended.wait()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            logger.warning("watching resources broke off", extra={"error": str(error)})
        finally:
            connection.terminate()
        await asyncio.sleep(_RETRY_SECONDS)
