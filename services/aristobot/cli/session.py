"""How a command reaches a running platform: its database, bus and secrets, closed afterwards.

The bus and the store are imported where they are used: most commands need the database alone, and
would take half as long again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aristobot.cli.target import current_target
from aristobot.contracts.nats_roles import NatsRole, admin
from aristobot.core.errors import Misconfigured
from aristobot.local.layout import Address, Layout
from aristobot.platform.db import Database

if TYPE_CHECKING:
    from aristobot.platform.bus import Bus
    from aristobot.platform.postgres_store import PostgresResourceStore
    from aristobot.platform.resource_store import ResourceStore

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Session:
    """A command's view of the platform on one data folder."""

    layout: Layout
    address: Address
    database: Database

    def store(self) -> PostgresResourceStore:
        """Resources and secrets."""
        from aristobot.platform.postgres_store import PostgresResourceStore
        from aristobot.platform.secrets import SecretStore, load_keys

        return PostgresResourceStore(self.database, SecretStore(load_keys(self.layout.secret_keys)))

    @asynccontextmanager
    async def bus(self, role: NatsRole | None = None) -> AsyncIterator[Bus]:
        """A connection in `role`, else as the administrator.

        Raises `Retryable` when NATS doesn't answer.
        """
        from aristobot.platform.bus import Bus

        credentials = self.address.nats_credentials
        if role is not None and credentials is not None:
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
    """The platform embedded on this machine.

    Raises `Misconfigured` when none runs on `data`, and when the cluster's platform is meant.
    """
    if current_target().on_kubernetes:
        raise current_target().only_in_pod()
    layout = Layout.at(data)
    address = _address(layout)
    database = Database(address.database_url, service="cli", pool_size=1)
    try:
        yield Session(layout, address, database)
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
