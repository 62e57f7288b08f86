"""kopf 1.45, as the operator uses it, runs against the double as against an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest

from tests.support.kube_api import KubeApi

BROKER = {
    "apiVersion": "trading.aristobot.io/v1alpha1",
    "kind": "Broker",
    "metadata": {"name": "main", "namespace": "aristobot"},
    "spec": {"exchange": "binance"},
}


@dataclass
class Seen:
    events: list[tuple[str | None, str]] = field(default_factory=list)
    indexed: set[str] = field(default_factory=set)


@asynccontextmanager
async def operator(api: KubeApi, registry: kopf.OperatorRegistry) -> AsyncIterator[None]:
    """Run kopf until the block ends."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return api.login

    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=["aristobot"],
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    try:
        async with asyncio.timeout(10):
            await ready.wait()
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


async def until(look: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.01)


def watcher(seen: Seen) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.event("brokers", registry=registry)
    async def event(name: str, **given: Any) -> None:
        seen.events.append((given["type"], name))

    @kopf.index("brokers", registry=registry)
    async def by_exchange(name: str, spec: kopf.Spec, **_: Any) -> Any:
        seen.indexed.add(name)
        return {spec["exchange"]: name}

    return registry


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi() as running:
        yield running


async def test_each_change_is_seen_once(api: KubeApi) -> None:
    api.put(BROKER)
    seen = Seen()
    async with operator(api, watcher(seen)):
        await until(lambda: seen.events == [(None, "main")])
        api.put({**BROKER, "metadata": {"name": "other", "namespace": "aristobot"}})
        api.patch("Broker", "aristobot", "main", {"spec": {"tradingMode": "webhook"}})
        api.delete("Broker", "aristobot", "other")
        await until(lambda: ("DELETED", "other") in seen.events)
        await asyncio.sleep(0.1)
    assert sorted(seen.events, key=str) == sorted(
        [(None, "main"), ("ADDED", "other"), ("MODIFIED", "main"), ("DELETED", "other")], key=str
    )


async def test_handlers_run_once_with_their_finalizer_and_status(api: KubeApi) -> None:
    """What kopf writes (annotation, finalizer, status) by merge and JSON patch comes back to it."""
    registry, ran = kopf.OperatorRegistry(), []

    @kopf.on.create("brokers", registry=registry)
    @kopf.on.update("brokers", registry=registry)
    async def reconcile(reason: str, meta: kopf.Meta, patch: kopf.Patch, **_: Any) -> None:
        ran.append((str(reason), meta["generation"]))
        patch.status["observedGeneration"] = meta["generation"]

    @kopf.on.delete("brokers", registry=registry)
    async def wind_down(**_: Any) -> None:
        ran.append(("delete", api.get("Broker", "aristobot", "main")["metadata"]["generation"]))

    def observed() -> int:
        found = api.get("Broker", "aristobot", "main")
        return int(found.get("status", {}).get("observedGeneration", 0))

    async with operator(api, registry):
        api.put(BROKER)
        await until(lambda: observed() == 1)
        assert api.get("Broker", "aristobot", "main")["metadata"]["finalizers"]
        api.patch("Broker", "aristobot", "main", {"spec": {"tradingMode": "webhook"}})
        await until(lambda: observed() == 2)
        api.delete("Broker", "aristobot", "main")
        await until(lambda: api.find("Broker", "aristobot", "main") is None)
    assert ran == [("create", 1), ("update", 2), ("delete", 3)]


async def test_a_cut_watch_is_taken_up_again(api: KubeApi) -> None:
    seen = Seen()
    async with operator(api, watcher(seen)):
        await until(lambda: api.watching("Broker"))
        api.break_watches("Broker")
        api.put(BROKER)
        await until(lambda: seen.events)
    assert seen.events == [("ADDED", "main")]
    assert seen.indexed == {"main"}
