"""The operator as it is, in this process, on the API double and a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest
from lightkube import KubeConfig

from aristobot.platform.bus import Bus
from aristobot.platform.settings import ServiceSettings
from aristobot_operator.server import serve
from aristobot_operator.settings import OperatorSettings
from tests.harness.servers import nats_server
from tests.support.kube_api import Failure, KubeApi, definitions

NAMESPACE = "aristobot"
CODE = "class Mine(Strategy):\n    pass\n"
_PATIENCE_SECONDS = 15.0


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi(
        namespaces=(NAMESPACE,), crds=definitions(), deployments_get_ready=True
    ) as api:
        yield api


@pytest.fixture
def newer_crds() -> list[dict[str, Any]]:
    """The definitions with a field that the operator doesn't know: it is older than they are."""
    crds = definitions()
    for crd in crds:
        for version in crd["spec"]["versions"]:
            spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
            spec["properties"]["later"] = {"type": "string"}
    return crds


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url, name="test", timeout_seconds=20)
    yield bus
    await bus.close()


@dataclass
class World:
    """What a test sees of the cluster."""

    api: KubeApi
    nats_url: str
    settings: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The operator's settings, as the chart would render them."""
        return {
            "release": "aristobot",
            "instance": "aristobot",
            "namespace": NAMESPACE,
            "owners": [NAMESPACE],
            "image": "aristobot:test",
            "natsUrl": self.nats_url,
            "databaseSecret": {"name": "aristobot-postgres", "key": "database-url"},
            "embeddedPostgres": {"host": "aristobot-postgres.aristobot.svc"},
            "markets": ["binance"],
            **self.settings,
        }

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run an operator until the block ends."""
        settings = OperatorSettings.model_validate(self.document())
        service = ServiceSettings.read({"ARISTOBOT_NATS_URL": self.nats_url})
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            return self.api.login

        stop = asyncio.Event()
        running = asyncio.create_task(
            serve(
                settings,
                service,
                stop,
                kube_config=KubeConfig.from_dict(self.api.config),
                registry=registry,
            )
        )
        try:
            yield running
        finally:
            stop.set()
            await asyncio.wait([running], timeout=_PATIENCE_SECONDS)
            if not running.done():
                for task in asyncio.all_tasks():
                    task.print_stack()
                pytest.fail("the operator does not end: what it waits for stands in the output")
            await running

    async def eventually(
        self,
        check: Callable[[], Any] | Callable[[], Awaitable[Any]],
        *,
        seconds: float = _PATIENCE_SECONDS,
    ) -> Any:
        """The first true answer of `check`; what it doesn't find yet is a `Failure` or a lookup."""
        last: object = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline:  # a check may swallow a cancellation (`platform.waiting`)
            try:
                last = check()
                if asyncio.iscoroutine(last):
                    last = await last
            except (LookupError, Failure) as error:
                last = error
            if last and not isinstance(last, Exception):
                return last
            await asyncio.sleep(0.02)
        raise AssertionError(f"it did not come to be; last: {last!r}")

    def condition(self, kind: str, name: str, condition: str = "Ready") -> dict[str, Any]:
        """A condition of a resource; {} when it has none."""
        found = self.api.find(kind, NAMESPACE, name)
        conditions = (found or {}).get("status", {}).get("conditions", ())
        return next((each for each in conditions if each["type"] == condition), {})

    async def ready(self, kind: str, name: str, reason: str, status: str = "True") -> None:
        await self.eventually(
            lambda: (
                (c := self.condition(kind, name)) and (c["reason"], c["status"]) == (reason, status)
            )
        )


@pytest.fixture
def world(api: KubeApi, nats_url: str) -> World:
    return World(api, nats_url)


@pytest.fixture
def at_work(world: World) -> World:
    """A broker and a strategy that trades on it."""
    for document in (keys(), broker(), strategy(), active()):
        world.api.put(document)
    return world


def broker(name: str = "main", **spec: Any) -> dict[str, Any]:
    return _resource(
        "Broker",
        name,
        {
            "exchange": "binance",
            "environment": "live",
            "tradingMode": "strategy",
            "credentialsSecretRef": {"name": "keys"},
            **spec,
        },
    )


def keys(name: str = "keys", **entries: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": entries or {"apiKey": "key", "apiSecret": "secret"},
    }


def strategy(name: str = "mine", **spec: Any) -> dict[str, Any]:
    return _resource("Strategy", name, {"code": CODE, "timeframe": "1m", **spec})


def active(name: str = "at-work", **spec: Any) -> dict[str, Any]:
    return _resource(
        "ActiveStrategy",
        name,
        {
            "strategyRef": {"name": "mine"},
            "brokerRef": {"name": "main"},
            "symbol": "BTCUSDT",
            **spec,
        },
    )


def _resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
