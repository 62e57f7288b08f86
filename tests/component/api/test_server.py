"""The API as a process runs it: starts without its database, stops at once, names a taken port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from aristobot.api.server import ApiSettings, serve
from aristobot.core.errors import Misconfigured
from aristobot.platform.admin_server import listen
from tests.harness.servers import free_port


@asynccontextmanager
async def serving(
    database_url: str, otlp_port: int | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    settings = ApiSettings(database_url=database_url, port=free_port(), otlp_port=otlp_port)
    stop = asyncio.Event()
    transport = httpx.AsyncHTTPTransport(retries=5)
    async with (
        asyncio.TaskGroup() as tasks,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.port}", transport=transport
        ) as client,
    ):
        tasks.create_task(serve(settings, stop))
        try:
            yield client
        finally:
            stop.set()


async def test_ready_with_a_database_and_quick_to_stop(postgres_url: str) -> None:
    async with serving(postgres_url) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["problems"]) == (200, [])
        begun = time.monotonic()
    assert time.monotonic() - begun < 1.5


async def test_lives_and_says_so_without_a_database() -> None:
    async with serving("postgresql://nobody:s3cret@127.0.0.1:1/none") as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "the database is away" in answer.json()["problems"][0]
        assert "s3cret" not in answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_the_port_for_spans_takes_them_and_answers_nothing_else(postgres_url: str) -> None:
    port = free_port()
    async with serving(postgres_url, port) as client:
        assert (await client.get("/readyz")).status_code == 200
        spans = f"http://127.0.0.1:{port}"
        empty = {"Content-Type": "application/x-protobuf"}
        answer = await client.post(f"{spans}/v1/traces", content=b"", headers=empty)
        assert answer.status_code == 200
        for path in (f"/api/traces/{'0' * 31}1", "/readyz", "/metrics"):
            assert (await client.get(f"{spans}{path}")).status_code == 404


async def test_a_taken_port_is_named(postgres_url: str) -> None:
    taken = listen("127.0.0.1", 0)
    settings = ApiSettings(database_url=postgres_url, port=taken.getsockname()[1])
    assert postgres_url not in repr(settings)
    try:
        with pytest.raises(Misconfigured, match=f"port {settings.port} "):
            await serve(settings, asyncio.Event())
    finally:
        taken.close()
