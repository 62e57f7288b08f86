"""The service processes: the same commands in a pod and under `aristobot up`.

Settings come from the environment (see `platform.settings`), so no secret is on a command line.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from aristobot.contracts.kubernetes import (
    API_PORT,
    INGRESS_PORT,
    NATS_MONITOR_PORT,
    NATS_PORT,
    PASSWORDS_MOUNT,
    POSTGRES_PORT,
    SIMULATOR_PORT,
)

_PANEL = "Services (started by `aristobot up` or a pod)"


def ingress(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = INGRESS_PORT,
    allow: Annotated[
        str,
        typer.Option(
            help="Addresses and networks that may send, comma-separated; `tradingview` stands for "
            "TradingView's own. Empty: everybody with a token.",
            envvar="ARISTOBOT_ALLOW",
        ),
    ] = "",
    trusted_proxies: Annotated[
        str,
        typer.Option(
            help="Proxies whose X-Forwarded-For is believed, comma-separated.",
            envvar="ARISTOBOT_TRUSTED_PROXIES",
        ),
    ] = "",
) -> None:
    """Receive webhooks."""
    from aristobot.ingress.server import IngressOptions, serve
    from aristobot.ingress.sources import SourcePolicy, parse_networks
    from aristobot.platform.lifecycle import run_service

    options = IngressOptions(
        host=host,
        port=port,
        sources=SourcePolicy(parse_networks(allow), parse_networks(trusted_proxies)),
    )
    run_service("ingress", lambda settings, stop: serve(settings, options, stop))


def engine() -> None:
    """Turn webhooks into order commands."""
    from aristobot.engine.server import serve
    from aristobot.platform.lifecycle import run_service

    run_service("engine", serve)


def gateway(
    broker: Annotated[str, typer.Option(help="The broker, as <owner>.<name>.")],
) -> None:
    """Carry out one broker's order commands."""
    from aristobot.gateway.server import serve
    from aristobot.platform.lifecycle import run_service

    run_service("gateway", lambda settings, stop: serve(settings, broker, stop))


def runner(
    strategy: Annotated[
        str | None,
        typer.Option(help="Run this active strategy alone: <owner>.<name>. None: all there are."),
    ] = None,
) -> None:
    """Run the users' strategies, each in a sealed process."""
    from aristobot.platform.lifecycle import run_service
    from aristobot.runner.server import serve

    run_service("runner", lambda settings, stop: serve(settings, stop, strategy=strategy))


def heartbeat(
    market: Annotated[
        str, typer.Option(help="The market, such as binance, binance-testnet, binance-simulator.")
    ],
    replica: Annotated[str, typer.Option(help="This replica's name, such as heartbeat-a.")],
    symbols: Annotated[
        str,
        typer.Option(
            help="Symbols that are always followed, comma-separated, beside those of strategies.",
            envvar="ARISTOBOT_HEARTBEAT_SYMBOLS",
        ),
    ] = "BTCUSDT,ETHUSDT",
) -> None:
    """Make candles of a market's trades; run two replicas."""
    from aristobot.heartbeat.server import serve
    from aristobot.platform.lifecycle import run_service

    names = [name.strip().upper() for name in symbols.split(",") if name.strip()]
    run_service("heartbeat", lambda settings, stop: serve(settings, market, replica, names, stop))


def api(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = API_PORT,
    otlp_port: Annotated[
        int | None, typer.Option(help="A port that takes spans and answers nothing else.")
    ] = None,
) -> None:
    """Store spans (OTLP/HTTP) and answer questions about them."""
    from aristobot.api.server import ApiSettings, serve
    from aristobot.platform.lifecycle import run_service
    from aristobot.platform.settings import ServiceSettings

    async def start(settings: ServiceSettings, stop: asyncio.Event) -> None:
        url = settings.require_database()
        await serve(ApiSettings(url, host=host, port=port, otlp_port=otlp_port), stop)

    run_service("api", start, traced=False)


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = SIMULATOR_PORT,
    state: Annotated[
        Path | None, typer.Option(help="Folder of accounts and orders; none: in memory.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
    speed: Annotated[
        float, typer.Option(help="How many times as fast the market's time runs.", min=0.01)
    ] = 1.0,
    tick: Annotated[
        float, typer.Option(help="Seconds between two looks at the market.", min=0.01)
    ] = 0.5,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            help="SYMBOL=FILE: play recorded trades from a CSV file with timestamp (ms), id, side, "
            "price, amount; may be repeated."
        ),
    ] = None,
) -> None:
    """An exchange with play money, speaking Binance's protocol."""
    from aristobot.platform.lifecycle import run_service
    from aristobot.platform.settings import ServiceSettings
    from aristobot.simulator.server import serve
    from aristobot.simulator.settings import SimulatorSettings, parse_replays

    options = SimulatorSettings(
        host=host,
        port=port,
        data_dir=state,
        seed=seed,
        speed=speed,
        tick_seconds=tick,
        replays=parse_replays(replay or []),
    )

    async def start(_: ServiceSettings, stop: asyncio.Event) -> None:
        await serve(options, stop)

    run_service("simulator", start, traced=False)


def migrate(
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for a database that is not there yet.", min=0)
    ] = 600.0,
) -> None:
    """Bring the database's schema up to date, once the database answers."""
    from aristobot.platform.db import Database
    from aristobot.platform.migrate import migrate_patiently
    from aristobot.platform.settings import DATABASE_URL, required

    async def work() -> None:
        database = Database(required(DATABASE_URL), service="migrate")
        try:
            await migrate_patiently(database, timeout_seconds=timeout, say=typer.echo)
        finally:
            await database.close()

    asyncio.run(work())


def embedded_nats(
    data: Annotated[Path, typer.Option(help="Folder of the streams, on a volume that lasts.")],
    auth: Annotated[
        Path, typer.Option(help="File with the configuration lines of operator and accounts.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = NATS_PORT,
    monitor_port: Annotated[
        int, typer.Option(help="Port of /healthz and of the server's figures.")
    ] = NATS_MONITOR_PORT,
) -> None:
    """A single NATS server with JetStream, for a first look at a cluster."""
    from aristobot.local.embedded import run_nats

    run_nats(data.absolute(), auth, host=host, port=port, monitor_port=monitor_port)


def embedded_postgres(
    data: Annotated[Path, typer.Option(help="Folder of the database, on a volume that lasts.")],
    passwords: Annotated[
        Path, typer.Option(help="Folder with the files password and superuser-password.")
    ] = Path(PASSWORDS_MOUNT),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = POSTGRES_PORT,
) -> None:
    """A single PostgreSQL server, for a first look at a cluster."""
    from aristobot.local.embedded import run_postgres

    run_postgres(data.absolute(), passwords, host=host, port=port)


OperatorConfig = Annotated[
    Path,
    typer.Option(
        help="The operator's settings, as the chart renders them.",
        envvar="ARISTOBOT_OPERATOR_CONFIG",
    ),
]


def operator(config: OperatorConfig = Path("/etc/aristobot/operator/operator.yaml")) -> None:
    """Execute the resources of a Kubernetes cluster."""
    from aristobot.platform.lifecycle import run_service
    from aristobot_operator.server import serve
    from aristobot_operator.settings import read_settings, service_settings

    settings = read_settings(config)
    run_service(
        "operator",
        lambda service, stop: serve(settings, service, stop),
        read=lambda: service_settings(settings),
    )


def operator_release(
    config: OperatorConfig = Path("/etc/aristobot/operator/operator.yaml"),
) -> None:
    """Take the operator's finalizers off, before it is uninstalled."""
    from aristobot_operator.release import release
    from aristobot_operator.settings import read_settings

    for line in asyncio.run(release(read_settings(config))):
        typer.echo(line)


def register(app: typer.Typer) -> None:
    for command in (
        *(ingress, engine, runner, gateway, heartbeat, api, simulator, migrate),
        *(embedded_nats, embedded_postgres, operator, operator_release),
    ):
        app.command(rich_help_panel=_PANEL)(command)
