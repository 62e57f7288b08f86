"""A PostgreSQL of our own for these tests, with the migrations applied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from aristobot.api.app import create_app
from aristobot.api.span_store import SpanStore
from aristobot.platform.admin_server import listen, run_asgi
from aristobot.platform.db import Database
from tests.harness.servers import postgres_server


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[SpanStore]:
    database = Database(postgres_url, service="test")
    yield SpanStore(database)
    await database.close()


@asynccontextmanager
async def running_api(store: SpanStore) -> AsyncIterator[str]:
    """The API on a free port; yields its base URL."""
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop = asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_asgi(create_app(store, lambda: []), listener, stop))
        try:
            yield url
        finally:
            stop.set()


@pytest.fixture
def api() -> Callable[[SpanStore], AbstractAsyncContextManager[str]]:
    return running_api
