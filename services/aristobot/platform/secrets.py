"""Secrets at rest: Fernet-encrypted rows, with keys that can be rotated.

The key file holds one Fernet key per line, the newest first: all of them decrypt, the first
encrypts. Values leave this module only through `SecretStore.read`, for the executor that hands
them to a process; nothing here logs or prints one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.core.errors import Misconfigured
from aristobot.platform.tables import secrets


def load_keys(path: Path) -> MultiFernet:
    """Read the key file, making it (mode 0600) when there is none.

    Raises `Misconfigured` when it can't be used: without it the stored secrets are lost, so a
    damaged file is never replaced.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    try:
        return MultiFernet([Fernet(line) for line in path.read_bytes().split()])
    except ValueError as error:
        raise Misconfigured(
            f"{path} is not a key file: restore it from a backup, or remove it and apply the "
            "Secrets again"
        ) from error


class SecretStore:
    """Named groups of secret values of an owner, as Kubernetes' Secrets are."""

    def __init__(self, keys: MultiFernet) -> None:
        self._keys = keys

    async def write(
        self, connection: AsyncConnection, owner: str, name: str, values: Mapping[str, str]
    ) -> None:
        """Replace the secret `name` by `values`."""
        await self.delete(connection, owner, name)
        for key, value in values.items():
            await connection.execute(
                insert(secrets).values(
                    owner=owner,
                    name=name,
                    key=key,
                    ciphertext=self._keys.encrypt(value.encode()),
                    updated_at=func.now(),
                )
            )

    async def read(self, connection: AsyncConnection, owner: str, name: str) -> dict[str, str]:
        """The secret's values; empty when there is no such secret."""
        rows = await connection.execute(
            select(secrets.c.key, secrets.c.ciphertext).where(
                secrets.c.owner == owner, secrets.c.name == name
            )
        )
        try:
            return {row.key: self._keys.decrypt(row.ciphertext).decode() for row in rows}
        except InvalidToken as error:
            raise Misconfigured(
                f"secret {name} was encrypted with a key that is no longer in the key file: "
                "add that key again, or apply the Secret anew"
            ) from error

    async def delete(self, connection: AsyncConnection, owner: str, name: str) -> bool:
        """Remove the secret; False when there was none."""
        result = await connection.execute(
            delete(secrets).where(secrets.c.owner == owner, secrets.c.name == name)
        )
        return bool(result.rowcount)
