"""The embedded ResourceStore keeps a store's promises; and announcements, and sealed secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Misconfigured
from aristobot.platform.db import Database
from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_store import Applied
from aristobot.platform.resource_watch import watch_resources
from aristobot.platform.secrets import SecretStore, load_keys
from aristobot.platform.tables import secrets as secrets_table
from tests.support.resource_stores import (
    Place,
    ResourceStoreConformance,
    RulesConformance,
    active,
    broker,
    secret,
)


@pytest.fixture
def store(database: Database, tmp_path: Path) -> PostgresResourceStore:
    return PostgresResourceStore(database, SecretStore(load_keys(tmp_path / "keys")))


@pytest.fixture
def place(store: PostgresResourceStore, key: BrokerKey) -> Place:
    return Place(store, key.owner, f"{key.owner}-other")


class TestPostgres(ResourceStoreConformance, RulesConformance):
    pass


async def test_what_has_to_be_wound_down_first_is_not_deleted_here(place: Place) -> None:
    await place.store.apply(place.owner, active("a", onDelete="closePositions"))
    with pytest.raises(Misconfigured, match=r"run `aristobot strategy sell a`.* onDelete: detach"):
        await place.store.delete(place.owner, "ActiveStrategy", "a")
    assert await place.store.get(place.owner, "ActiveStrategy", "a") is not None
    await place.store.apply(place.owner, active("a"))
    assert await place.store.delete(place.owner, "ActiveStrategy", "a")


async def test_secrets_are_encrypted_and_keys_can_be_rotated(
    database: Database, key: BrokerKey, tmp_path: Path
) -> None:
    file = tmp_path / "fernet"
    store = PostgresResourceStore(database, SecretStore(load_keys(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    assert await store.apply(key.owner, secret(apiKey="hush-hush")) is Applied.CREATED
    async with database.transaction(key.owner) as connection:
        (stored,) = (await connection.execute(select(secrets_table.c.ciphertext))).scalars()
    assert b"hush" not in stored
    file.write_bytes(Fernet.generate_key() + b"\n" + file.read_bytes())
    rotated = PostgresResourceStore(database, SecretStore(load_keys(file)))
    assert await rotated.read_secret(key.owner, "keys") == {"apiKey": "hush-hush"}
    file.write_bytes(Fernet.generate_key())
    lost = PostgresResourceStore(database, SecretStore(load_keys(file)))
    with pytest.raises(Misconfigured, match="no longer in the key file"):
        await lost.read_secret(key.owner, "keys")


def test_a_damaged_key_file_is_named_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("nonsense")
    with pytest.raises(Misconfigured, match="is not a key file"):
        load_keys(file)
    assert file.read_text() == "nonsense"


async def test_a_change_is_announced(
    store: PostgresResourceStore, key: BrokerKey, postgres_url: str
) -> None:
    woken = asyncio.Event()
    watching = asyncio.create_task(watch_resources(postgres_url, woken.set))
    try:
        await asyncio.wait_for(woken.wait(), 10)  # the first connection counts as a change
        for change in (broker(), secret(apiKey="x")):
            woken.clear()
            await store.apply(key.owner, change)
            await asyncio.wait_for(woken.wait(), 5)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
