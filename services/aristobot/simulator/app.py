"""The simulator as one Starlette application: the engine, its dialects and the control endpoint.

The application's lifespan owns the ticking market and the journal. Opening the journal happens when
the application is built, so that a damaged folder is told before anything listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute

from aristobot.platform.admin_server import AdminFace
from aristobot.simulator.binance.dialect import BinanceDialect
from aristobot.simulator.clock import Clock
from aristobot.simulator.control import Control
from aristobot.simulator.faults import Faults
from aristobot.simulator.matching import Exchange
from aristobot.simulator.settings import SimulatorSettings

_log = logging.getLogger(__name__)


def create_app(settings: SimulatorSettings) -> Starlette:
    """Build the exchange; `Misconfigured` when its data folder cannot be used."""
    exchange = Exchange(settings, Clock(settings.speed))
    faults = Faults(settings.seed)
    binance = BinanceDialect(exchange, faults)
    control = Control(exchange, faults, binance.limits, binance.hub)

    journal_problem: list[str] = []
    admin = AdminFace(lambda: journal_problem)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(
            _tick(exchange, settings.tick_seconds, journal_problem), name="market-ticks"
        )
        try:
            yield
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it was cancelled just above
                await ticking
            binance.close()
            exchange.close()

    app = Starlette(
        routes=[
            Mount("/api", app=binance.rest),
            Mount("/control", routes=control.routes()),
            *(Route(path, admin) for path in ("/healthz", "/readyz", "/metrics")),
            WebSocketRoute("/ws-api/v3", binance.websocket_api.serve),
            WebSocketRoute("/ws", binance.market_streams.serve_raw),
            WebSocketRoute("/ws/{streams:path}", binance.market_streams.serve_raw),
            WebSocketRoute("/stream", binance.market_streams.serve_combined),
        ],
        lifespan=lifespan,
    )
    app.state.exchange = exchange
    return app


async def _tick(exchange: Exchange, seconds: float, problem: list[str]) -> None:
    """Move the market for as long as the application lives; `problem` holds what hinders it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            exchange.tick()
            problem.clear()
        except OSError as error:
            problem[:] = [f"the journal can't be written: {error.strerror or error}"]
            # A full disk must not stop the market for good; the next tick tries again.
            _log.exception("The simulator could not write its journal.")
