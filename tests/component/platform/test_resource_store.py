"""The embedded ResourceStore: kubectl's words, generations, announcements, and sealed secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select

from aristobot.contracts.resources import (
    ActiveStrategy,
    Broker,
    Metadata,
    SecretDocument,
    Strategy,
    StrategySpec,
    parse_document,
)
from aristobot.contracts.streams import BrokerKey
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured
from aristobot.platform.db import Database
from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_store import Applied
from aristobot.platform.resource_watch import watch_resources
from aristobot.platform.secrets import SecretStore, load_keys
from aristobot.platform.tables import secrets as secrets_table


@pytest.fixture
def store(database: Database, tmp_path: Path) -> PostgresResourceStore:
    return PostgresResourceStore(database, SecretStore(load_keys(tmp_path / "keys")))


def _broker(name: str = "main", **spec: object) -> Broker:
    document = parse_document(
        {
            "apiVersion": "trading.aristobot.io/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": name},
            "spec": {"exchange": "binance", "environment": "simulator", **spec},
        }
    )
    assert isinstance(document, Broker)
    return document


def _secret(value: str) -> SecretDocument:
    document = parse_document(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "stringData": {"apiKey": value},
        }
    )
    assert isinstance(document, SecretDocument)
    return document


async def test_applying_says_what_it_did_and_counts_generations(
    store: PostgresResourceStore, key: BrokerKey
) -> None:
    assert await store.apply(key.owner, _broker()) is Applied.CREATED
    assert await store.apply(key.owner, _broker()) is Applied.UNCHANGED
    assert await store.apply(key.owner, _broker(tradingMode="webhook")) is Applied.CONFIGURED
    (stored,) = await store.list(key.owner, "Broker")
    assert stored.generation == 2
    await store.set_status(key.owner, "Broker", "main", {"conditions": []})
    (stored,) = await store.list(key.owner, "Broker")
    assert stored.generation == 2
    assert stored.status == {"conditions": []}
    assert parse_document(stored.document()).kind == "Broker"
    assert await store.delete(key.owner, "Broker", "main")
    assert not await store.delete(key.owner, "Broker", "main")


async def test_strategies_are_kept_and_read_back_typed(
    store: PostgresResourceStore, key: BrokerKey
) -> None:
    strategy = Strategy(
        metadata=Metadata(name="ema"), spec=StrategySpec(code="x = 1", timeframe=Timeframe.M5)
    )
    spec = {"strategyRef": {"name": "ema"}, "brokerRef": {"name": "main"}, "symbol": "BTCUSDT"}
    active = ActiveStrategy.model_validate(
        {
            "metadata": {"name": "ema-btc"},
            "spec": {**spec, "start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00+01:00"},
        }
    )
    for document in (strategy, active):
        assert await store.apply(key.owner, document) is Applied.CREATED
        assert await store.apply(key.owner, document) is Applied.UNCHANGED
        stored = await store.get(key.owner, document.kind, document.metadata.name)
        assert stored is not None
        assert stored.parse(type(document)).spec == document.spec
    assert await store.get(key.owner, "Strategy", "ema-btc") is None
    with pytest.raises(Misconfigured, match="ActiveStrategy ema-btc is not of kind Broker"):
        stored.parse(Broker)


async def test_what_is_applied_again_after_a_deletion_is_another_one(
    store: PostgresResourceStore, key: BrokerKey
) -> None:
    await store.apply(key.owner, _broker())
    (first,) = await store.list(key.owner, "Broker")
    await store.apply(key.owner, _broker(tradingMode="webhook"))
    changed = await store.get(key.owner, "Broker", "main")
    await store.delete(key.owner, "Broker", "main")
    await store.apply(key.owner, _broker())
    again = await store.get(key.owner, "Broker", "main")
    assert changed is not None
    assert again is not None
    assert first.uid == changed.uid != again.uid
    assert changed.document()["metadata"]["uid"] == changed.uid


def _active(**spec: object) -> ActiveStrategy:
    required = {"strategyRef": {"name": "ema"}, "brokerRef": {"name": "main"}, "symbol": "BTCUSDT"}
    return ActiveStrategy.model_validate({"metadata": {"name": "a"}, "spec": {**required, **spec}})


async def test_to_what_orders_belong_is_kept(store: PostgresResourceStore, key: BrokerKey) -> None:
    await store.apply(key.owner, _broker())
    with pytest.raises(Misconfigured, match=r"spec\.environment: .* under a new name"):
        await store.apply(
            key.owner, _broker(environment="live", credentialsSecretRef={"name": "k"})
        )
    await store.apply(key.owner, _active())
    with pytest.raises(Misconfigured, match=r"spec\.symbol: .* under a new name"):
        await store.apply(key.owner, _active(symbol="ETHUSDT"))
    assert await store.apply(key.owner, _active(paused=True)) is Applied.CONFIGURED


async def test_what_has_to_be_wound_down_first_is_not_deleted_here(
    store: PostgresResourceStore, key: BrokerKey
) -> None:
    await store.apply(key.owner, _active(onDelete="closePositions"))
    with pytest.raises(Misconfigured, match=r"run `aristobot strategy sell a`.* onDelete: detach"):
        await store.delete(key.owner, "ActiveStrategy", "a")
    assert await store.get(key.owner, "ActiveStrategy", "a") is not None
    await store.apply(key.owner, _active())
    assert await store.delete(key.owner, "ActiveStrategy", "a")


async def test_a_number_names_one_broker(store: PostgresResourceStore, key: BrokerKey) -> None:
    await store.apply(key.owner, _broker(number=7))
    with pytest.raises(
        Misconfigured, match=r"spec\.number: 7 is already the number of broker main"
    ):
        await store.apply(key.owner, _broker("second", number=7))
    await store.apply(f"{key.owner}-other", _broker(number=7))


async def test_secrets_are_encrypted_and_keys_can_be_rotated(
    database: Database, key: BrokerKey, tmp_path: Path
) -> None:
    file = tmp_path / "fernet"
    store = PostgresResourceStore(database, SecretStore(load_keys(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    assert await store.apply(key.owner, _secret("hush-hush")) is Applied.CREATED
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
        for change in (_broker(), _secret("x")):
            woken.clear()
            await store.apply(key.owner, change)
            await asyncio.wait_for(woken.wait(), 5)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
