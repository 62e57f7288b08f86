"""The ingress process: an HTTP server, the two bucket mirrors, and nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aristobot.contracts.kubernetes import INGRESS_PORT
from aristobot.contracts.nats_roles import ingress as ingress_role
from aristobot.contracts.streams import BROKERS_BUCKET, TOKENS_BUCKET
from aristobot.ingress.app import IngressApp
from aristobot.ingress.directory import Directory
from aristobot.ingress.sources import SourcePolicy
from aristobot.platform.admin_server import AdminFace, listen, run_asgi
from aristobot.platform.bus import Bus
from aristobot.platform.kv_mirror import KvMirror
from aristobot.platform.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class IngressOptions:
    host: str = "0.0.0.0"
    port: int = INGRESS_PORT
    sources: SourcePolicy = field(default_factory=SourcePolicy)


async def serve(settings: ServiceSettings, options: IngressOptions, stop: asyncio.Event) -> None:
    """Receive webhooks until `stop` is set."""
    listener = listen(options.host, options.port)
    bus = await Bus.connect(
        settings.nats_url,
        name="ingress",
        credentials=settings.nats_credentials,
        inbox_prefix=ingress_role().inbox_prefix,
    )
    directory = Directory()
    tokens = KvMirror(bus, TOKENS_BUCKET, on_change=directory.load_tokens)
    brokers = KvMirror(bus, BROKERS_BUCKET, on_change=directory.load_brokers)

    def problems() -> list[str]:
        found = [] if bus.is_connected else ["NATS is not connected"]
        if not (tokens.is_loaded and brokers.is_loaded):
            found.append("the tokens are not loaded yet")
        return found

    app = IngressApp(
        bus=bus,
        directory=directory,
        is_ready=lambda: tokens.is_loaded and brokers.is_loaded,
        sources=options.sources,
        admin=AdminFace(problems),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(tokens.run(), name="tokens mirror"),
                tasks.create_task(brokers.run(), name="brokers mirror"),
                tasks.create_task(bus.lost(), name="bus"),
            ]
            await run_asgi(app, listener, stop)
            for task in working:
                task.cancel()
    finally:
        await bus.close()
