"""What a service answers about itself, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from aristobot.core.errors import Misconfigured
from aristobot.platform.admin_server import AdminFace, Readiness, listen, run_asgi, serve_admin


@asynccontextmanager
async def admin(readiness: Readiness) -> AsyncIterator[httpx.AsyncClient]:
    listener = listen("127.0.0.1", 0)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_asgi(AdminFace(readiness), listener, stop))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=base) as client:
                yield client
        finally:
            stop.set()


async def test_the_three_paths() -> None:
    async with admin(lambda: []) as client:
        health, ready, metrics = [
            await client.get(path) for path in ("/healthz", "/readyz", "/metrics")
        ]
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert (ready.status_code, ready.json()) == (200, {"ready": True, "problems": []})
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "aristobot_webhook_accept_seconds" in metrics.text
        modern = await client.get(
            "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        assert modern.headers["content-type"].startswith("application/openmetrics-text")
        assert modern.text.endswith("# EOF\n")
        assert (await client.get("/other")).status_code == 404
        assert (await client.post("/healthz")).status_code == 405


async def test_problems_make_it_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aristobot.platform.admin_server.READINESS_TIMEOUT_SECONDS", 0.1)

    async def slow() -> Sequence[str]:
        await asyncio.sleep(10)
        return []

    def broken() -> Sequence[str]:
        raise KeyError("secret")

    for readiness, problem in (
        (lambda: ["the stream is away"], "the stream is away"),
        (slow, "the readiness check took longer than 0.1 s"),
        (broken, "the readiness check failed: KeyError"),
    ):
        async with admin(readiness) as client:
            answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "problems": [problem]}


async def test_a_taken_port_is_named() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    try:
        with pytest.raises(Misconfigured, match=f"port {port} on 127.0.0.1 is in use"):
            await serve_admin("127.0.0.1", port, lambda: [], asyncio.Event())
    finally:
        taken.close()


async def test_stopping_ends_open_connections_and_frees_the_port() -> None:
    async with admin(lambda: []) as client:
        await client.get("/healthz")  # the connection stays open
        url = str(client.base_url)
        begun = time.monotonic()
    assert time.monotonic() - begun < 1.0
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
