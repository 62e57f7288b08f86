"""The operator process: leads, lists, watches, works; and says truthfully how it is.

Order: the lease, the platform's Secrets, a list of everything, then watches and workers. NATS may
still be waiting for those Secrets, so what needs it (directory, statuses, holdings) begins when it
is there, and pods are made meanwhile. Whatever ends one of these tasks ends the process: a new one
begins with a list and so misses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import kopf
from lightkube.config.kubeconfig import KubeConfig

from aristobot.contracts.nats_roles import operator as operator_role
from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Retryable
from aristobot.platform.admin_server import serve_admin
from aristobot.platform.bus import Bus
from aristobot.platform.nats_auth import write_private
from aristobot.platform.settings import ServiceSettings
from aristobot.platform.waiting import patiently
from aristobot_operator import metrics
from aristobot_operator.acting.active_strategies import ActiveStrategies
from aristobot_operator.acting.bootstrap import ensure_platform_secrets, ensure_trust
from aristobot_operator.acting.brokers import Brokers
from aristobot_operator.acting.children import Children
from aristobot_operator.acting.credentials import Credentials
from aristobot_operator.acting.directory import DirectoryWriter
from aristobot_operator.acting.events import Events
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.acting.pods import Pods
from aristobot_operator.acting.reconciler import Reconciler
from aristobot_operator.acting.runners import Runners
from aristobot_operator.acting.simulator import SimulatedAccounts
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.acting.wind_down import WindDown
from aristobot_operator.cache import WATCHED, Cache, Change
from aristobot_operator.canary import Canary
from aristobot_operator.health import RESYNC_SECONDS, Signs, problems
from aristobot_operator.kube import Kube
from aristobot_operator.leader import Leadership
from aristobot_operator.plans.concern import changes_directory, concerned
from aristobot_operator.plans.directory import wanted_directory
from aristobot_operator.settings import OperatorSettings
from aristobot_operator.watching import Watches
from aristobot_operator.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)


async def serve(
    settings: OperatorSettings,
    service: ServiceSettings,
    stop: asyncio.Event,
    *,
    kube_config: KubeConfig | None = None,
    registry: kopf.OperatorRegistry | None = None,
) -> None:
    """Operate until `stop` is set. `kube_config`, `registry`: another API server than kubectl's."""
    identity = service.instance or f"{socket.gethostname()}-{os.getpid()}"
    # The lease has connections of its own: its renewal never waits behind the workers' calls.
    kube, lease_kube = Kube(kube_config), Kube(kube_config)
    lease = f"{settings.release}-operator"
    leadership = Leadership(lease_kube, settings.namespace, lease, identity)
    operator = Operator(settings, kube, identity, registry)
    try:
        async with asyncio.TaskGroup() as tasks:
            if service.admin_port is not None:
                tasks.create_task(
                    serve_admin(service.admin_host, service.admin_port, operator.problems, stop),
                    name="admin",
                )
            working = tasks.create_task(_lead(leadership, operator), name="operator")
            await stop.wait()
            working.cancel()
    finally:
        await leadership.release()
        await lease_kube.close()
        await kube.close()


async def _lead(leadership: Leadership, operator: Operator) -> None:
    await leadership.acquire()
    metrics.IS_LEADER.set(1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leadership.keep(), name="lease")
        tasks.create_task(operator.run(), name="work")


class Operator:
    """What the leading replica does. A standby's `problems` are none: it can take over."""

    def __init__(
        self,
        settings: OperatorSettings,
        kube: Kube,
        identity: str,
        registry: kopf.OperatorRegistry | None,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._events = Events(kube, identity)
        self._registry = registry
        self._cache = Cache(self._noticed)
        self._queue = WorkQueue()
        self._bus: Bus | None = None
        self._directory: DirectoryWriter | None = None
        self._runners = Runners(self._queue.add)
        self._holdings = Holdings(lambda: set(self._traded()), self._queue.add)
        self._wind_down = WindDown(self._cache, self._holdings)
        self._started: float | None = None
        #: What the leader needs before it can begin.
        self._waits: str | None = None
        metrics.QUEUED.set_function(lambda: len(self._queue))

    def problems(self) -> list[str]:
        """What keeps it from doing its work; nothing when it does, or stands by."""
        if self._waits is not None:
            return [self._waits]
        if self._started is None:
            return []
        signs = Signs(
            started=self._started,
            last_success=_value(metrics.LAST_SUCCESS),
            watch_agreed=_value(metrics.WATCH_AGREED),
            has_work=any(self._is_ours(key) for key in self._cache.resources()),
            is_connected=self._bus is not None and self._bus.is_connected,
            is_directory_written=self._directory is not None and self._directory.is_written,
        )
        return list(problems(signs, time.time()))

    async def run(self) -> None:
        """Work until cancelled."""
        settings, kube, cache = self._settings, self._kube, self._cache
        self._waits = "what is there has not been listed yet"
        trust = await ensure_trust(settings, kube)
        credentials = Credentials(settings, kube, cache, trust)
        await patiently("the resources", self._list_all)
        await ensure_platform_secrets(settings, kube, cache, trust, credentials)
        self._started, self._waits = time.time(), None
        status = StatusWriter(kube, cache, self._events)
        pods = Pods(self._events, Children(kube, cache), credentials)
        accounts = SimulatedAccounts(settings, kube, cache, trust)
        reconciler = Reconciler(
            self._queue,
            cache,
            status,
            Brokers(settings, kube, cache, status, pods, accounts),
            ActiveStrategies(
                settings,
                kube,
                cache,
                status,
                self._events,
                pods,
                self._runners,
                self._holdings,
                self._wind_down,
            ),
        )
        watches = Watches(settings, cache, registry=self._registry)
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(settings.workers):
                    tasks.create_task(reconciler.work(), name=f"worker {number}")
                tasks.create_task(watches.run(), name="watches")
                tasks.create_task(self._resync(), name="resync")
                canary = Canary(kube, cache, settings.namespaces, watches.shown)
                tasks.create_task(canary.run(), name="canary")
                tasks.create_task(self._speak(credentials), name="NATS")
        finally:
            await accounts.close()

    async def _list_all(self) -> None:
        try:
            for kind in WATCHED:
                for namespace in self._settings.namespaces:
                    for found in await self._kube.list(kind, namespace):
                        self._cache.put(kind, {"kind": kind, **found})
        except Retryable as error:
            self._waits = f"what is there can't be listed: {error}"
            raise

    async def _speak(self, credentials: Credentials) -> None:
        """Everything that needs NATS."""
        role = operator_role()
        with tempfile.TemporaryDirectory(prefix="aristobot-operator-") as folder:
            file = Path(folder, "nats.creds")
            write_private(file, credentials.issue(role))
            bus = self._bus = await Bus.connect(
                self._settings.nats_url,
                name="operator",
                credentials=str(file),
                inbox_prefix=role.inbox_prefix,
            )
            replicas = self._settings.nats_replicas
            self._directory = DirectoryWriter(
                bus,
                lambda: wanted_directory(self._cache, self._settings.owners),
                replicas=replicas,
            )
            self._wind_down.use(bus)
            try:
                await patiently("streams", lambda: bus.ensure_streams(replicas=replicas))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._directory.run(), name="directory")
                    tasks.create_task(self._runners.run(bus), name="runners")
                    tasks.create_task(self._holdings.run(bus), name="holdings")
                    tasks.create_task(bus.lost(), name="bus")
            finally:
                await bus.close()

    async def _resync(self) -> None:
        for key in self._cache.resources():  # at once the first time: nothing is known of them
            self._look_at(key)
        while True:
            # Then spread over the time, so that a change never waits behind all of them.
            keys = self._cache.resources()
            for key in keys:
                await asyncio.sleep(RESYNC_SECONDS / len(keys))
                self._look_at(key)
            if not keys:
                await asyncio.sleep(RESYNC_SECONDS)

    def _look_at(self, key: Key) -> None:
        if self._is_ours(key):
            self._queue.add(key)

    def _is_ours(self, key: Key) -> bool:
        """Whether it is an owner's; the release's own namespace is watched in any case."""
        return key.namespace in self._settings.owners

    def _noticed(self, change: Change) -> None:
        for key in sorted(concerned(self._cache, change)):
            self._look_at(key)
        if self._directory is not None and changes_directory(change):
            self._directory.changed()

    def _traded(self) -> Iterator[BrokerKey]:
        for owner in self._settings.owners:
            for each in self._cache.all("ActiveStrategy", owner):
                yield BrokerKey(owner, each["spec"]["brokerRef"]["name"])


def _value(gauge: object) -> float:
    (metric,) = gauge.collect()  # type: ignore[attr-defined]
    return float(metric.samples[0].value)
