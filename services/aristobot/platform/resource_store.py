"""The desired state: a port for applying and reading resources, and its PostgreSQL adapter.

The CLI and (later) the API talk to `ResourceStore`; on Kubernetes another adapter does the same
on the custom resources. A change is announced by NOTIFY in its own transaction, so whoever
executes the resources need not poll. Not here: acting on a resource.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.resources import (
    GROUP_VERSION,
    ActiveStrategy,
    Broker,
    Document,
    SecretDocument,
    Strategy,
    parse_document,
)
from aristobot.core.errors import Misconfigured
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.secrets import SecretStore
from aristobot.platform.tables import resources, secrets, users

#: The channel on which changes are announced.
CHANNEL = "aristobot_resources"

#: The kinds that stand in the table `resources`; a Secret has a store of its own.
Typed = TypeVar("Typed", Broker, Strategy, ActiveStrategy)

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


class Applied(StrEnum):
    """What an apply did, in kubectl's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One resource as it stands. `generation` counts changes of the spec.

    `uid` is made with the resource: one that is deleted and applied again has another.
    """

    owner: str
    kind: str
    name: str
    uid: str
    spec: Mapping[str, Any]
    generation: int
    created_at: datetime
    status: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As YAML would show it."""
        document: dict[str, Any] = {
            "apiVersion": GROUP_VERSION,
            "kind": self.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.owner,
                "uid": self.uid,
                "generation": self.generation,
                "creationTimestamp": self.created_at.isoformat(timespec="seconds"),
            },
            "spec": dict(self.spec),
        }
        if self.status:
            document["status"] = dict(self.status)
        return document

    def parse(self, model: type[Typed]) -> Typed:
        """The typed resource. Raises `Misconfigured` if it isn't valid, or of another kind."""
        document = parse_document(self.document())
        if not isinstance(document, model):
            raise Misconfigured(f"{self.kind} {self.name} is not of kind {model.__name__}")
        return document


class ResourceStore(Protocol):
    """Where the desired state lives. Every call may raise `Retryable`."""

    async def apply(self, owner: str, document: Document) -> Applied: ...

    async def list(self, owner: str, kind: str) -> Sequence[StoredResource]: ...

    async def get(self, owner: str, kind: str, name: str) -> StoredResource | None: ...

    async def delete(self, owner: str, kind: str, name: str) -> bool: ...

    async def set_status(
        self, owner: str, kind: str, name: str, status: Mapping[str, Any]
    ) -> None: ...


class PostgresResourceStore:
    """The embedded platform's `ResourceStore`."""

    def __init__(self, database: Database, secret_store: SecretStore) -> None:
        self._database = database
        self._secrets = secret_store

    @asynccontextmanager
    async def _changing(self, owner: str) -> AsyncIterator[AsyncConnection]:
        async with self._database.transaction(owner) as connection:
            await connection.execute(insert(users).values(owner=owner).on_conflict_do_nothing())
            yield connection
            await connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": owner})

    async def apply(self, owner: str, document: Document) -> Applied:
        """Create or change one resource."""
        if isinstance(document, SecretDocument):
            return await self._apply_secret(owner, document)
        name, kind = document.metadata.name, document.kind
        number = document.spec.number if isinstance(document, Broker) else None
        spec = document.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        async with self._changing(owner) as connection:
            if number is not None:
                await self._require_free_number(connection, owner, name, number)
            found = (
                await connection.execute(
                    select(resources.c.spec)
                    .where(
                        resources.c.owner == owner,
                        resources.c.kind == kind,
                        resources.c.name == name,
                    )
                    .with_for_update()
                )
            ).one_or_none()
            if found is not None and found.spec == spec:
                return Applied.UNCHANGED
            statement = insert(resources).values(owner=owner, kind=kind, name=name, spec=spec)
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["owner", "kind", "name"],
                    set_={
                        "spec": statement.excluded.spec,
                        "generation": resources.c.generation + 1,
                        "updated_at": func.now(),
                    },
                )
            )
        return Applied.CREATED if found is None else Applied.CONFIGURED

    async def _require_free_number(
        self, connection: AsyncConnection, owner: str, broker: str, number: int
    ) -> None:
        taken = await connection.scalar(
            select(resources.c.name).where(
                resources.c.owner == owner,
                resources.c.kind == "Broker",
                resources.c.name != broker,
                resources.c.spec["number"].as_integer() == number,
            )
        )
        if taken is not None:
            raise Misconfigured(f"spec.number: {number} is already the number of broker {taken}")

    async def _apply_secret(self, owner: str, document: SecretDocument) -> Applied:
        name, values = document.metadata.name, document.values()
        async with self._changing(owner) as connection:
            before = await self._secrets.read(connection, owner, name)
            if before == values:
                return Applied.UNCHANGED
            await self._secrets.write(connection, owner, name, values)
        return Applied.CONFIGURED if before else Applied.CREATED

    async def list(self, owner: str, kind: str) -> Sequence[StoredResource]:
        """All resources of a kind, by name; `EVERY_OWNER` lists everybody's."""
        query = select(resources).where(resources.c.kind == kind)
        if owner != EVERY_OWNER:
            query = query.where(resources.c.owner == owner)
        async with self._database.transaction(owner) as connection:
            rows = await connection.execute(query.order_by(resources.c.owner, resources.c.name))
            return [_stored(row) for row in rows]

    async def get(self, owner: str, kind: str, name: str) -> StoredResource | None:
        """One resource as it stands now; None when there is none."""
        query = select(resources).where(
            resources.c.owner == owner, resources.c.kind == kind, resources.c.name == name
        )
        async with self._database.transaction(owner) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _stored(row)

    async def secret_names(self, owner: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Names of the secrets and of their entries; never a value."""
        async with self._database.transaction(owner) as connection:
            rows = await connection.execute(
                select(secrets.c.name, func.array_agg(secrets.c.key).label("keys"))
                .where(secrets.c.owner == owner)
                .group_by(secrets.c.name)
                .order_by(secrets.c.name)
            )
            return [(row.name, tuple(sorted(row.keys))) for row in rows]

    async def read_secret(self, owner: str, name: str) -> dict[str, str]:
        """A secret's values, for the executor; empty when there is none."""
        async with self._database.transaction(owner) as connection:
            return await self._secrets.read(connection, owner, name)

    async def delete(self, owner: str, kind: str, name: str) -> bool:
        """Remove one resource; False when there was none."""
        async with self._changing(owner) as connection:
            if kind == "Secret":
                return await self._secrets.delete(connection, owner, name)
            result = await connection.execute(
                delete(resources).where(
                    resources.c.owner == owner, resources.c.kind == kind, resources.c.name == name
                )
            )
            return bool(result.rowcount)

    async def set_status(self, owner: str, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Write what was observed. Doesn't count as a change of the desired state."""
        async with self._database.transaction(owner) as connection:
            await connection.execute(
                resources.update()
                .where(
                    resources.c.owner == owner, resources.c.kind == kind, resources.c.name == name
                )
                .values(status=dict(status))
            )


def _stored(row: Row[Any]) -> StoredResource:
    return StoredResource(**{item.name: getattr(row, item.name) for item in fields(StoredResource)})
