"""How a command reaches a running platform: its database, bus and secrets, closed afterwards.

Three places: beside the platform embedded on this machine, in a pod of one on Kubernetes (the pod's
own settings lead to database and bus), and outside of a cluster (its resources alone).

Bus, store and database are imported where they are used: most commands need the database alone,
and a service's process goes through here too. With the database's modules, which it never uses, a
strategy's pod would take 24 MB more and half a second longer to start.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aristobot.cli.target import current_target
from aristobot.contracts.nats_roles import NatsRole, admin, api
from aristobot.core.errors import Misconfigured
from aristobot.local.layout import Address, Layout
from aristobot.platform.settings import DATABASE_URL, NATS_URL, ServiceSettings, optional

if TYPE_CHECKING:
    from aristobot.platform.bus import Bus
    from aristobot.platform.db import Database
    from aristobot.platform.postgres_store import PostgresResourceStore
    from aristobot.platform.resource_store import ResourceStore

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Session:
    """A command's view of the platform on one data folder, or of the one whose pod this is."""

    layout: Layout
    address: Address
    database: Database
    in_pod: bool = False

    def store(self) -> PostgresResourceStore:
        """Resources and secrets. Raises `Misconfigured` in a pod, which may see neither."""
        if self.in_pod:
            raise Misconfigured(
                "a pod doesn't see the resources: use kubectl, or `aristobot --kube` where your "
                "kubeconfig is"
            )
        from aristobot.platform.postgres_store import PostgresResourceStore
        from aristobot.platform.secrets import SecretStore, load_keys

        return PostgresResourceStore(self.database, SecretStore(load_keys(self.layout.secret_keys)))

    @asynccontextmanager
    async def bus(self, role: NatsRole | None = None) -> AsyncIterator[Bus]:
        """A connection in `role`, else as the administrator.

        In a pod, whose one user is the api's, as that. Raises `Retryable` when NATS doesn't answer.
        """
        from aristobot.platform.bus import Bus

        credentials = self.address.nats_credentials
        if self.in_pod:
            role = api()
        elif role is not None and credentials is not None:
            own = self.layout.credentials / f"{role.name}.creds"
            credentials = str(own) if own.is_file() else credentials
        bus = await Bus.connect(
            self.address.nats_url,
            name="cli",
            credentials=credentials,
            inbox_prefix=(role or admin()).inbox_prefix,
            timeout_seconds=5.0,
        )
        try:
            yield bus
        finally:
            await bus.close()


@asynccontextmanager
async def open_session(data: Path) -> AsyncIterator[Session]:
    """The platform embedded on this machine, or the one whose pod this is.

    Raises `Misconfigured` when there is none, and when a cluster's is meant from outside of it.
    """
    from aristobot.platform.db import Database

    if current_target().on_kubernetes:
        raise current_target().only_in_pod()
    layout = Layout.at(data)
    own = None if layout.address_file.is_file() else _own_settings()
    address = own or _address(layout)
    database = Database(address.database_url, service="cli", pool_size=1)
    try:
        yield Session(layout, address, database, in_pod=own is not None)
    finally:
        await database.close()


@asynccontextmanager
async def open_store(data: Path) -> AsyncIterator[ResourceStore]:
    """The resources of the platform that is meant, here or on Kubernetes."""
    target = current_target()
    if target.on_kubernetes:
        from aristobot.platform.kubeconfig import read_access
        from aristobot.platform.kubernetes_store import open_kubernetes_store

        async with open_kubernetes_store(read_access(target.context)) as store:
            yield store
    else:
        async with open_session(data) as session:
            yield session.store()


def is_pod() -> bool:
    """Whether this environment is a service's, which leads to database and bus."""
    return optional(DATABASE_URL) is not None and optional(NATS_URL) is not None


def _own_settings() -> Address | None:
    """Where a service with this environment finds the platform; None outside of a pod."""
    if not is_pod():
        return None
    service = ServiceSettings.read()
    return Address(
        pid=os.getpid(),
        nats_url=service.nats_url,
        nats_credentials=service.nats_credentials,
        webhook_url="",
        api_url="",
        simulator_url="",
        database_url=service.require_database(),
    )


def _address(layout: Layout) -> Address:
    from aristobot.platform.kubeconfig import is_configured

    try:
        return Address.read(layout)
    except Misconfigured as error:
        if layout.address_file.is_file() or not is_configured():
            raise
        raise Misconfigured(f"{error}; for the platform on Kubernetes, add --kube") from None


def run(work: Coroutine[None, None, Result]) -> Result:
    """Run a command's async body."""
    return asyncio.run(work)
