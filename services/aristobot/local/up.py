"""`aristobot up`: the whole platform on one machine, from empty folder to first order.

Order: lock the folder, stop what a killed platform left, start servers and services together (each
waits for what it needs), migrate, make the streams, then execute the resources until told to stop.
Deliberately not here: what a part is (`parts`), keeping it alive (`supervisor`), brokers
(`executor`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aristobot.contracts import nats_roles
from aristobot.contracts.nats_roles import NatsRole
from aristobot.contracts.resources import Broker
from aristobot.contracts.streams import BrokerKey
from aristobot.contracts.workload import gateway_workload, webhook_secret
from aristobot.local import demo, nats_server, parts, postgres_server
from aristobot.local.executor import Executor
from aristobot.local.given_servers import require_database, require_nats
from aristobot.local.layout import DEFAULT_PORT_BASE, Address, Layout, Ports
from aristobot.local.parts import Surroundings
from aristobot.local.ports import check_free
from aristobot.local.process import ProcessSpec
from aristobot.local.rundir import RunDir
from aristobot.local.supervisor import STOP_SECONDS, PartState, Phase, Supervisor
from aristobot.platform import settings
from aristobot.platform.bus import Bus
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.migrate import migrate
from aristobot.platform.nats_auth import Trust, create_trust, issue_role, write_private
from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_watch import watch_resources
from aristobot.platform.sandbox.availability import verdict
from aristobot.platform.secrets import SecretStore, load_keys
from aristobot.platform.waiting import patiently

logger = logging.getLogger(__name__)

_FIRST_GATEWAYS_SECONDS = 20.0
_LEAST_STOP_SECONDS = 1.5

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """`nats_url`, `database_url`: servers that are there instead of the embedded ones.

    `ingress_host`: where webhooks are received; the other parts listen on this machine only.
    `heartbeats`: how many replicas each market has, 0 to 2; strategies need one.
    """

    data: Path
    port_base: int = DEFAULT_PORT_BASE
    nats_url: str | None = None
    nats_credentials: str | None = None
    database_url: str | None = None
    with_demo: bool = True
    ingress_host: str = "0.0.0.0"
    ingress_arguments: tuple[str, ...] = ()
    simulator_arguments: tuple[str, ...] = ()
    heartbeats: int = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what `aristobot up` prints."""

    part: str
    text: str


class Platform:
    """One run of the embedded platform. `say` shows a line to the user."""

    def __init__(self, options: UpOptions, say: Callable[[Line], None]) -> None:
        self._options = options
        self._say = say
        self._layout = Layout.at(options.data)
        self._ports = Ports(options.port_base)
        self._stop = asyncio.Event()
        self._supervisor: Supervisor | None = None
        self._executor: Executor | None = None
        #: Loop time at which stopping began.
        self._stopping_since: float | None = None
        self._shown: set[str] = set()

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises `Misconfigured` when it can't start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        run_dir = RunDir.create(self._layout.data)
        with run_dir.lock():
            for name in await asyncio.to_thread(run_dir.stop_leftovers):
                self._say(Line(name, "was left over from a killed platform: stopped"))
            self._check_ports()
            supervisor = Supervisor(run_dir, on_change=self._part_changed)
            self._supervisor = supervisor
            try:
                await self._run(supervisor)
            finally:
                self._layout.address_file.unlink(missing_ok=True)
                # What our own connections took to close is not there for the parts any more.
                spent = loop.time() - (self._stopping_since or loop.time())
                await supervisor.stop(max(STOP_SECONDS - spent, _LEAST_STOP_SECONDS))
                self._layout.parts_file.unlink(missing_ok=True)

    def _part_changed(self, changed: PartState) -> None:
        """Leave the parts' states for `aristobot status`, and let the brokers' states follow."""
        if changed.ready:
            self._show(changed.name)
        if self._executor is not None:
            self._executor.wake()
        rows = [
            {
                "part": state.name,
                "state": state.phase.value,
                "pid": state.pid,
                "since": state.since.isoformat(timespec="seconds"),
                "restarts": state.restarts,
                "last_exit": state.last_exit,
            }
            for state in (self._supervisor.states() if self._supervisor else ())
            # A part that was stopped on purpose (its broker is gone) is no part any more.
            if state.phase is not Phase.STOPPED
        ]
        new = self._layout.parts_file.with_suffix(".new")
        new.write_text(json.dumps(rows))
        new.replace(self._layout.parts_file)

    def _check_ports(self) -> None:
        ports = {
            "ingress": self._ports.ingress,
            "api": self._ports.api,
            "simulator": self._ports.simulator,
            "engine": self._ports.engine_admin,
            "the first heartbeat": self._ports.heartbeat_admin(0),
            "the second heartbeat": self._ports.heartbeat_admin(1),
            "the first gateway": self._ports.gateway_admin(0),
        }
        if self._options.nats_url is None:
            ports["nats"] = self._ports.nats
        if self._options.database_url is None:
            ports["postgres"] = self._ports.postgres
        check_free(ports)

    async def _run(self, supervisor: Supervisor) -> None:
        starting = asyncio.create_task(self._start(supervisor), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop signal")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting  # it runs until stopped, so this raises what ended it
        finally:
            self._stopping_since = asyncio.get_running_loop().time()
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait({starting, stopping}, timeout=2.0)

    async def _start(self, supervisor: Supervisor) -> None:
        started = time.monotonic()
        options, layout, ports = self._options, self._layout, self._ports
        if options.nats_url is not None:
            await require_nats(options.nats_url, options.nats_credentials)
        if options.database_url is not None:
            await require_database(options.database_url)
        trust = create_trust(layout.nats_trust) if options.nats_url is None else None
        servers: list[ProcessSpec] = []
        if trust is not None:
            servers.append(
                nats_server.nats_spec(
                    data=layout.nats, port=ports.nats, trust=trust, log_path=layout.log("nats")
                )
            )
            self._issue(trust)
        if options.database_url is None:
            servers.append(
                await postgres_server.postgres_spec(
                    data=layout.postgres,
                    secrets=layout.secrets,
                    port=ports.postgres,
                    log_path=layout.log("postgres"),
                )
            )
        around = self._surroundings(trust)
        services = [
            parts.simulator(around, extra=options.simulator_arguments),
            parts.engine(around),
            parts.ingress(around, host=options.ingress_host, extra=options.ingress_arguments),
            parts.api(around),
        ]
        # All at once: each service waits for the servers by itself, and importing takes as long
        # as they need to start.
        everything = asyncio.create_task(supervisor.start(*servers, *services), name="parts")
        try:
            await self._operate(supervisor, around, trust, everything, started)
        finally:
            everything.cancel()
            await asyncio.gather(everything, return_exceptions=True)

    async def _operate(
        self,
        supervisor: Supervisor,
        around: Surroundings,
        trust: Trust | None,
        everything: asyncio.Task[None],
        started: float,
    ) -> None:
        database = Database(around.database_url, service="platform", pool_size=3)
        bus: Bus | None = None
        try:
            bus = await self._connect_bus(around, everything)
            await _unless_failed(everything, patiently("database", lambda: migrate(database)))
            await _unless_failed(everything, patiently("streams", bus.ensure_streams))
            store = PostgresResourceStore(
                database, SecretStore(load_keys(self._layout.secret_keys))
            )
            if self._options.with_demo:
                await demo.apply_demo(store)

            async def issue(name: str, role: NatsRole) -> None:
                path = self._layout.credentials / f"{name}.creds"
                if trust is not None and not path.exists():
                    write_private(path, issue_role(trust, role))

            executor = Executor(
                store=store,
                supervisor=supervisor,
                bus=bus,
                around=around,
                issue_credentials=issue,
                heartbeats=self._options.heartbeats,
            )
            self._executor = executor
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(executor.run(), name="executor")
                tasks.create_task(bus.lost(), name="bus")
                tasks.create_task(
                    watch_resources(around.database_url, executor.wake), name="watch resources"
                )
                await everything
                await self._first_gateways(supervisor, store)
                self._address(around).write(self._layout)
                await self._conclude(supervisor, store, time.monotonic() - started)
        finally:
            if bus is not None:
                await bus.close()
            await database.close()

    async def _connect_bus(self, around: Surroundings, everything: asyncio.Task[None]) -> Bus:
        return await _unless_failed(
            everything,
            Bus.connect(
                around.nats_url,
                name="platform",
                credentials=around.nats_credentials("admin"),
                inbox_prefix=nats_roles.admin().inbox_prefix,
            ),
        )

    def _issue(self, trust: Trust) -> None:
        """Credentials of the fixed roles, anew at each start: what they may do may have changed."""
        for role in (
            nats_roles.ingress(),
            nats_roles.engine(),
            nats_roles.runner(),
            nats_roles.heartbeat(),
            nats_roles.api(),
            nats_roles.admin(),
        ):
            write_private(self._layout.credentials / f"{role.name}.creds", issue_role(trust, role))
        for stale in self._layout.credentials.glob("gateway-*.creds"):
            stale.unlink(missing_ok=True)

    def _surroundings(self, trust: Trust | None) -> Surroundings:
        options, layout, ports = self._options, self._layout, self._ports

        def credentials(role: str) -> str | None:
            if trust is None:
                return options.nats_credentials
            return str(layout.credentials / f"{role}.creds")

        return Surroundings(
            layout=layout,
            ports=ports,
            nats_url=options.nats_url or nats_server.nats_url(ports.nats),
            database_url=options.database_url
            or postgres_server.database_url(layout.secrets, ports.postgres),
            # A collector that the user has configured gets the spans instead of our own store.
            otlp_endpoint=os.environ.get(settings.OTLP_ENDPOINT)
            or f"http://{parts.HOST}:{ports.api}",
            simulator_url=f"http://{parts.HOST}:{ports.simulator}",
            nats_credentials=credentials,
        )

    def _address(self, around: Surroundings) -> Address:
        return Address(
            pid=os.getpid(),
            nats_url=around.nats_url,
            nats_credentials=around.nats_credentials("admin"),
            webhook_url=f"http://{parts.HOST}:{self._ports.ingress}/webhook",
            api_url=f"http://{parts.HOST}:{self._ports.api}",
            simulator_url=around.simulator_url,
            database_url=around.database_url,
            admin_urls={
                "ingress": f"http://{parts.HOST}:{self._ports.ingress}",
                "engine": f"http://{parts.HOST}:{self._ports.engine_admin}",
                "api": f"http://{parts.HOST}:{self._ports.api}",
            },
        )

    async def _first_gateways(self, supervisor: Supervisor, store: PostgresResourceStore) -> None:
        """Wait for gateways and heartbeats, but not for ever: an exchange may be away."""
        names = {
            gateway_workload(stored.owner, stored.parse(Broker)).name
            for stored in await store.list(EVERY_OWNER, "Broker")
        }
        with contextlib.suppress(TimeoutError):  # `status` shows what is missing, and why
            async with asyncio.timeout(_FIRST_GATEWAYS_SECONDS):
                while True:
                    states = supervisor.states()
                    beating = {s.name for s in states if s.name.startswith("heartbeat-")}
                    if names | beating <= {s.name for s in states if s.phase is Phase.READY}:
                        return
                    await asyncio.sleep(0.02)

    def _show(self, part: str) -> None:
        """Say, the first time a part is ready, where it is."""
        if part in self._shown:
            return
        self._shown.add(part)
        ports = self._ports
        addresses = {
            "nats": nats_server.nats_url(ports.nats),
            "postgres": f"postgresql://{parts.HOST}:{ports.postgres}/aristobot",
            "simulator": f"http://{parts.HOST}:{ports.simulator}",
            "ingress": f"http://{self._options.ingress_host}:{ports.ingress}",
            "engine": f"http://{parts.HOST}:{ports.engine_admin}/readyz",
            "api": f"http://{parts.HOST}:{ports.api}",
        }
        address = addresses.get(part, "")
        if part.startswith("gateway-"):
            key = BrokerKey.parse(part.removeprefix("gateway-"))
            address = f"broker {key.broker} of {key.owner}"
        elif part.startswith("heartbeat-"):
            address = f"market {part.removeprefix('heartbeat-')[:-2]}"
        self._say(Line(part, address))

    async def _conclude(
        self, supervisor: Supervisor, store: PostgresResourceStore, seconds: float
    ) -> None:
        for state in supervisor.states():
            if not state.ready:
                self._say(Line(state.name, "not ready yet: see `aristobot status`"))
        sealing = verdict()
        if not sealing.sealed:
            self._say(Line("strategies", sealing.sentence))
        token = (await store.read_secret(demo.OWNER, webhook_secret(demo.BROKER))).get("token")
        if self._options.with_demo and token is not None:
            self._say(Line("webhook", f"http://{parts.HOST}:{self._ports.ingress}/webhook/{token}"))
        self._say(Line("", f"ready after {seconds:.1f} s, data in {self._layout.data}"))


async def _unless_failed(everything: asyncio.Task[None], step: Awaitable[_Result]) -> _Result:
    """Await `step`, but fail at once when the parts can't be started."""
    waiting = asyncio.ensure_future(step)
    try:
        await asyncio.wait({waiting, everything}, return_when=asyncio.FIRST_COMPLETED)
        if everything.done() and not waiting.done():
            everything.result()  # raises why
        return await waiting
    finally:
        waiting.cancel()
