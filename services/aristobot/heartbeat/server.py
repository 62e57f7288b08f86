"""The process of one heartbeat replica: connections, the heartbeat, its status, its admin face."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from aristobot.contracts.markets import parse_market
from aristobot.contracts.nats_roles import heartbeat as heartbeat_role
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.exchanges.registry import create_market_stream
from aristobot.heartbeat.service import Heartbeat
from aristobot.heartbeat.store import HeartbeatStore
from aristobot.platform.admin_server import serve_admin
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from aristobot.platform.schema import require_current_schema
from aristobot.platform.settings import ServiceSettings, optional
from aristobot.platform.waiting import patiently

logger = logging.getLogger(__name__)

#: Origin of the market streams, where it isn't the venue's own (the simulator, a proxy).
MARKET_URL = "ARISTOBOT_MARKET_URL"

_STATUS_SECONDS = 2.0
_LAST_WORDS_SECONDS = 1.0


async def serve(
    settings: ServiceSettings,
    market: str,
    replica: str,
    symbols: Sequence[str],
    stop: asyncio.Event,
) -> None:
    """Beat until `stop` is set. Raises `Misconfigured` for an unknown market."""
    try:
        exchange, environment = parse_market(market)
    except ValueError as error:
        raise Misconfigured(
            f"{market!r} is no market: write an exchange, or exchange-environment, such as "
            "binance, binance-testnet or binance-simulator"
        ) from error
    stream = create_market_stream(exchange.value, environment.value, ws_url=optional(MARKET_URL))
    database = Database(settings.require_database(), service="heartbeat", pool_size=3)
    store = HeartbeatStore(database, market, replica)
    bus = await Bus.connect(
        settings.nats_url,
        name=f"heartbeat {replica}",
        credentials=settings.nats_credentials,
        inbox_prefix=heartbeat_role().inbox_prefix,
    )
    heartbeat = Heartbeat(market, replica, symbols=symbols, bus=bus, store=store, stream=stream)
    reporter = _Reporter(heartbeat, store)

    async def keep() -> None:
        # Beside the signals, which need no database.
        await patiently("database", lambda: require_current_schema(database))
        await reporter.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.run(), name="store")
            tasks.create_task(reporter.run(), name="status")

    try:
        async with asyncio.TaskGroup() as tasks:
            if settings.admin_port is not None:
                tasks.create_task(
                    serve_admin(settings.admin_host, settings.admin_port, heartbeat.problems, stop),
                    name="admin",
                )
            working = [
                tasks.create_task(heartbeat.run(), name="heartbeat"),
                tasks.create_task(keep(), name="store and status"),
                tasks.create_task(bus.lost(), name="bus"),
            ]
            await stop.wait()
            for task in working:
                task.cancel()
    finally:
        await stream.close()
        await reporter.end()
        await bus.close()
        await database.close()


class _Reporter:
    """Writes the replica's status and its start and stop."""

    def __init__(self, heartbeat: Heartbeat, store: HeartbeatStore) -> None:
        self._heartbeat = heartbeat
        self._store = store
        self._run: int | None = None

    async def start(self) -> None:
        async def record() -> None:
            self._run = await self._store.start_run(self._heartbeat.status().started_at)

        await patiently("heartbeat run", record)

    async def run(self) -> None:
        """Rewrite the status every few seconds; ends on cancellation."""
        while True:
            try:
                await self._store.write_status(self._heartbeat.status())
            except Retryable as error:
                logger.info("status can't be written now", extra={"why": str(error)})
            await asyncio.sleep(_STATUS_SECONDS)

    async def end(self) -> None:
        """The last words of a replica that is stopped; a killed one has none."""
        if self._run is None:
            return
        # What can't be stored now is found missing at the next start.
        with suppress(Retryable, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while self._store.pending:
                    await self._store.flush()
                await self._store.end_run(self._run, datetime.now(UTC))
