"""Runs the API: one database pool, the HTTP server and the deletion of old spans.

Not here: reading the environment; the entry point builds `ApiSettings`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from aristobot.api.app import create_app, create_spans_app
from aristobot.api.span_store import SpanStore
from aristobot.contracts.kubernetes import API_PORT
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.admin_server import listen, run_asgi
from aristobot.platform.db import Database
from aristobot.platform.schema import require_current_schema

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`span_days`: how long spans are kept. The database URL holds a password: no repr.

    `otlp_port`: a port that takes spans and answers nothing else; None: there is none.
    """

    database_url: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = API_PORT
    otlp_port: int | None = None
    span_days: float = 7.0


async def serve(settings: ApiSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises Misconfigured for a taken port or an unreadable URL.

    A database that is away at start or later is answered with 503 and "not ready".
    """
    database = Database(settings.database_url, service="api")
    store = SpanStore(database)

    async def problems() -> Sequence[str]:
        try:
            await require_current_schema(database)
        except (Retryable, Misconfigured) as error:
            return [str(error)]
        return []

    try:
        listener = listen(settings.host, settings.port)
        async with asyncio.TaskGroup() as tasks:
            retention = tasks.create_task(store.keep_for(settings.span_days), name="span-retention")
            _logger.info("api listens", extra={"host": settings.host, "port": settings.port})
            if settings.otlp_port is not None:
                spans = listen(settings.host, settings.otlp_port)
                tasks.create_task(run_asgi(create_spans_app(store), spans, stop), name="otlp")
            await run_asgi(create_app(store, problems), listener, stop)
            retention.cancel()
    finally:
        await database.close()
