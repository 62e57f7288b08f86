"""The engine process: connections, the engine, its admin face."""

from __future__ import annotations

import asyncio

from aristobot.contracts.nats_roles import engine as engine_role
from aristobot.engine.service import Engine
from aristobot.platform.admin_server import serve_admin
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from aristobot.platform.schema import require_current_schema
from aristobot.platform.settings import ServiceSettings
from aristobot.platform.waiting import patiently


async def serve(settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Process webhooks and order events until `stop` is set."""
    database = Database(settings.require_database(), service="engine", pool_size=8)
    bus = await Bus.connect(
        settings.nats_url,
        name="engine",
        credentials=settings.nats_credentials,
        inbox_prefix=engine_role().inbox_prefix,
    )
    engine = Engine(bus, database)

    async def work() -> None:
        await patiently("database", lambda: require_current_schema(database))
        await engine.run()

    try:
        async with asyncio.TaskGroup() as tasks:
            if settings.admin_port is not None:
                tasks.create_task(
                    serve_admin(settings.admin_host, settings.admin_port, engine.problems, stop),
                    name="admin",
                )
            working = [
                tasks.create_task(work(), name="engine"),
                tasks.create_task(bus.lost(), name="bus"),
            ]
            await stop.wait()
            await bus.drain()
            for task in working:
                task.cancel()
    finally:
        await bus.close()
        await database.close()
