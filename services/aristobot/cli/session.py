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

from aristobot.contracts.nats_roles import NatsRole, admin
from aristobot.local.layout import Address, Layout
from aristobot.platform.db import Database

if TYPE_CHECKING:
    from aristobot.platform.bus import Bus
    from aristobot.platform.resource_store import PostgresResourceStore

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Session:
    """A command's view of the platform on one data folder."""

    layout: Layout
    address: Address
    database: Database

    def store(self) -> PostgresResourceStore:
        """Resources and secrets."""
        from aristobot.platform.resource_store import PostgresResourceStore
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
    """Raises `Misconfigured` when no platform runs on `data`."""
    layout = Layout.at(data)
    address = Address.read(layout)
    database = Database(address.database_url, service="cli", pool_size=1)
    try:
        yield Session(layout, address, database)
    finally:
        await database.close()


def run(work: Coroutine[None, None, Result]) -> Result:
    """Run a command's async body."""
    return asyncio.run(work)
