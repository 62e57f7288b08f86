"""The gateway process of one broker: connections, the exchange client, its admin face."""

from __future__ import annotations

import asyncio
import os
import socket

from aristobot.contracts.markets import market_id
from aristobot.contracts.nats_roles import gateway as gateway_role
from aristobot.contracts.resources import Environment, Exchange
from aristobot.contracts.streams import BrokerKey
from aristobot.contracts.workload import API_KEY_VARIABLE, API_SECRET_VARIABLE
from aristobot.exchanges.registry import create_client
from aristobot.gateway.service import Gateway
from aristobot.platform.admin_server import serve_admin
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from aristobot.platform.schema import require_current_schema
from aristobot.platform.settings import ServiceSettings, optional, required
from aristobot.platform.waiting import patiently


async def serve(settings: ServiceSettings, broker: str, stop: asyncio.Event) -> None:
    """Serve `<owner>.<broker>` until `stop` is set, or until `Fenced` by a successor."""
    key = BrokerKey.parse(broker)
    venue, environment = required("ARISTOBOT_EXCHANGE"), required("ARISTOBOT_EXCHANGE_ENVIRONMENT")
    client = create_client(
        venue,
        environment,
        api_key=required(API_KEY_VARIABLE),
        api_secret=required(API_SECRET_VARIABLE),
        base_url=optional("ARISTOBOT_EXCHANGE_URL"),
        ws_url=optional("ARISTOBOT_EXCHANGE_WS_URL"),
    )
    database = Database(settings.require_database(), service="gateway", pool_size=4)
    bus = await Bus.connect(
        settings.nats_url,
        name=f"gateway {key}",
        credentials=settings.nats_credentials,
        inbox_prefix=gateway_role(key.owner, key.broker).inbox_prefix,
    )
    holder = settings.instance or f"{socket.gethostname()}-{os.getpid()}"
    gateway = Gateway(
        key,
        bus=bus,
        database=database,
        client=client,
        venue=venue,
        market=market_id(Exchange(venue), Environment(environment)),
        holder=holder,
    )

    async def work() -> None:
        await patiently("database", lambda: require_current_schema(database))
        await gateway.run()

    try:
        async with asyncio.TaskGroup() as tasks:
            if settings.admin_port is not None:
                tasks.create_task(
                    serve_admin(settings.admin_host, settings.admin_port, gateway.problems, stop),
                    name="admin",
                )
            working = [
                tasks.create_task(work(), name="gateway"),
                tasks.create_task(bus.lost(), name="bus"),
            ]
            await stop.wait()
            await bus.drain()
            for task in working:
                task.cancel()
    finally:
        await client.close()
        await bus.close()
        await database.close()
