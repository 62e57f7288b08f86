"""The desired state in PostgreSQL: the embedded platform's `ResourceStore`.

A change is announced by NOTIFY in its own transaction, so whoever executes the resources need not
poll. Not here: acting on a resource, and the promises themselves (`resource_store`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.changes import refused_change, refused_deletion
from aristobot.contracts.resources import Document, SecretDocument
from aristobot.core.errors import Misconfigured
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.resource_store import (
    Applied,
    StoredResource,
    changed_meanwhile,
    changed_spec,
    number_taken,
    spec_of,
)
from aristobot.platform.secrets import SecretStore
from aristobot.platform.tables import resources, secrets, users

#: The channel on which changes are announced.
CHANNEL = "aristobot_resources"

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


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
        """Create or change one resource. Raises `Misconfigured` for what may not be changed."""
        if isinstance(document, SecretDocument):
            return await self._apply_secret(owner, document)
        name, kind, spec = document.metadata.name, document.kind, spec_of(document)
        async with self._changing(owner) as connection:
            await self._require_free_number(connection, owner, kind, name, spec)
            found = await self._locked(connection, owner, kind, name)
            if found is not None:
                if found.spec == spec:
                    return Applied.UNCHANGED
                _require(refused_change(kind, found.spec, spec))
            await self._write(connection, owner, kind, name, spec)
        return Applied.CREATED if found is None else Applied.CONFIGURED

    async def change(self, seen: StoredResource, changes: Mapping[str, Any]) -> None:
        """Change fields of the spec. Raises `ChangedMeanwhile` when it isn't as `seen` any more."""
        owner, kind, name, spec = seen.owner, seen.kind, seen.name, changed_spec(seen, changes)
        async with self._changing(owner) as connection:
            found = await self._locked(connection, owner, kind, name)
            if found is None or (found.uid, found.generation) != (seen.uid, seen.generation):
                raise changed_meanwhile(seen)
            if found.spec != spec:
                _require(refused_change(kind, found.spec, spec))
                await self._require_free_number(connection, owner, kind, name, spec)
                await self._write(connection, owner, kind, name, spec)

    async def _locked(
        self, connection: AsyncConnection, owner: str, kind: str, name: str
    ) -> Row[Any] | None:
        query = select(resources.c.uid, resources.c.generation, resources.c.spec).where(
            resources.c.owner == owner, resources.c.kind == kind, resources.c.name == name
        )
        return (await connection.execute(query.with_for_update())).one_or_none()

    async def _write(
        self,
        connection: AsyncConnection,
        owner: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
    ) -> None:
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

    async def _require_free_number(
        self,
        connection: AsyncConnection,
        owner: str,
        kind: str,
        broker: str,
        spec: Mapping[str, Any],
    ) -> None:
        number = spec.get("number") if kind == "Broker" else None
        if number is None:
            return
        taken = await connection.scalar(
            select(resources.c.name).where(
                resources.c.owner == owner,
                resources.c.kind == "Broker",
                resources.c.name != broker,
                resources.c.spec["number"].as_integer() == number,
            )
        )
        if taken is not None:
            raise number_taken(number, taken)

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
        """Remove one resource; False when there was none.

        Raises `Misconfigured` when something has to be done first that is done on Kubernetes alone.
        """
        async with self._changing(owner) as connection:
            if kind == "Secret":
                return await self._secrets.delete(connection, owner, name)
            spec = await connection.scalar(
                delete(resources)
                .where(
                    resources.c.owner == owner, resources.c.kind == kind, resources.c.name == name
                )
                .returning(resources.c.spec)
            )
            if spec is not None:
                # Raised within the transaction, which takes the deletion back.
                _require(refused_deletion(kind, name, spec))
            return spec is not None

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


def _require(refusal: str | None) -> None:
    if refusal is not None:
        raise Misconfigured(refusal)


def _stored(row: Row[Any]) -> StoredResource:
    return StoredResource(
        owner=row.owner,
        kind=row.kind,
        name=row.name,
        uid=row.uid,
        spec=row.spec,
        generation=row.generation,
        created_at=row.created_at,
        status=row.status,
    )
