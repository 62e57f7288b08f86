"""Real servers, one of each for all tests here; every test uses owners and subjects of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from aristobot.contracts.streams import BrokerKey
from aristobot.platform.bus import Bus
from aristobot.platform.db import Database
from tests.harness.servers import nats_server, postgres_server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url, service="test")
    yield database
    await database.close()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url, name="test", timeout_seconds=20)
    yield bus
    await bus.close()


@pytest.fixture
def key() -> BrokerKey:
    return BrokerKey(f"owner-{secrets.token_hex(4)}", "main")
