"""The runner process: its connection, the strategies, its admin face. It has no database."""

from __future__ import annotations

import asyncio

from aristobot.contracts.nats_roles import inbox_prefix, strategy_runner_name
from aristobot.contracts.nats_roles import runner as runner_role
from aristobot.contracts.streams import BrokerKey
from aristobot.platform.admin_server import serve_admin
from aristobot.platform.bus import Bus
from aristobot.platform.sandbox.availability import unsealed_is_allowed
from aristobot.platform.settings import ServiceSettings
from aristobot.runner.service import Runner


async def serve(
    settings: ServiceSettings, stop: asyncio.Event, *, strategy: str | None = None
) -> None:
    """Run the active strategies, or only `strategy` (`<owner>.<name>`), until `stop` is set.

    Raises `Misconfigured` for a name that can't be one.
    """
    if strategy is None:
        inbox = runner_role().inbox_prefix
    else:
        key = BrokerKey.parse(strategy)  # checks the form: both are names of the same kind
        inbox = inbox_prefix(strategy_runner_name(key.owner, key.broker))
    bus = await Bus.connect(
        settings.nats_url,
        name="runner" if strategy is None else f"runner {strategy}",
        credentials=settings.nats_credentials,
        inbox_prefix=inbox,
    )
    runner = Runner(bus, only=strategy, allow_unsealed=unsealed_is_allowed())
    try:
        async with asyncio.TaskGroup() as tasks:
            if settings.admin_port is not None:
                tasks.create_task(
                    serve_admin(settings.admin_host, settings.admin_port, runner.problems, stop),
                    name="admin",
                )
            working = [
                tasks.create_task(runner.run(), name="runner"),
                tasks.create_task(bus.lost(), name="bus"),
            ]
            await stop.wait()
            for task in working:
                task.cancel()
    finally:
        await bus.close()
