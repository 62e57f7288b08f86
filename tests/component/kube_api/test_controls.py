"""What a test can do with the double: silence, cuts, refusals, Ready Deployments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from tests.support.kube_api import KubeApi
from tests.support.kube_api.bare import (
    CONFIG_MAPS,
    ApiClient,
    config_map,
    connected,
    version,
)

NAMESPACE = "aristobot"
Broker = create_namespaced_resource("trading.aristobot.io", "v1alpha1", "Broker", "brokers")


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi() as running:
        yield running


@pytest.fixture
async def raw(api: KubeApi) -> AsyncIterator[ApiClient]:
    async with connected(api.config, NAMESPACE) as client:
        yield client


@pytest.fixture
async def client(api: KubeApi) -> AsyncIterator[AsyncClient]:
    async with api.client(namespace=NAMESPACE, field_manager="test") as found:
        yield found


def deployment(image: str) -> Deployment:
    labels = {"app": "a"}
    container = Container(name="main", image=image)
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=[container])
    )
    spec = DeploymentSpec(selector=LabelSelector(matchLabels=labels), template=template)
    return Deployment(metadata=ObjectMeta(name="a", namespace=NAMESPACE), spec=spec)


def put(api: KubeApi, name: str, **data: str) -> None:
    api.put({**config_map(name, data), "metadata": {"name": name, "namespace": NAMESPACE}})


async def silent(events: AsyncIterator[Any]) -> bool:
    try:
        async with asyncio.timeout(0.1):
            await anext(events)
    except TimeoutError:
        return True
    return False


async def test_lightkube_applies_lists_and_patches(api: KubeApi, client: AsyncClient) -> None:
    made = await client.apply(deployment("a:1"))
    again = await client.apply(deployment("a:1"))
    assert again.metadata.resourceVersion == made.metadata.resourceVersion
    changed = await client.apply(deployment("a:2"))
    assert changed.metadata.generation == 2
    await client.patch(Deployment, "a", {"spec": {"replicas": 0}}, patch_type=PatchType.MERGE)
    assert [d.spec.replicas async for d in client.list(Deployment)] == [0]
    await client.delete(Deployment, "a")
    with pytest.raises(ApiError, match="not found"):
        await client.get(Deployment, "a")
    assert [r.status for r in api.requests("PATCH", "deployments")] == [201, 200, 200, 200]


async def test_lightkube_watches_a_custom_kind(api: KubeApi, client: AsyncClient) -> None:
    listed = client.list(Broker)
    assert [broker async for broker in listed] == []
    events = aiter(client.watch(Broker, resource_version=listed.resourceVersion))
    broker = {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": "main", "namespace": NAMESPACE},
        "spec": {"exchange": "binance", "environment": "simulator"},
    }
    api.put(broker)
    api.set_status("Broker", NAMESPACE, "main", {"observedGeneration": 1})
    api.put({**broker, "spec": {**broker["spec"], "tradingMode": "webhook"}})
    api.delete("Broker", NAMESPACE, "main")
    async with asyncio.timeout(5):
        seen = [await anext(events) for _ in range(4)]
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert [obj.metadata.generation for _, obj in seen] == [1, 1, 2, 2]
    assert seen[2][1].status["observedGeneration"] == 1


async def test_a_kubeconfig_file_leads_to_it(api: KubeApi, tmp_path: Path) -> None:
    path = api.write_kubeconfig(tmp_path / "config")
    async with AsyncClient(config=KubeConfig.from_file(path), trust_env=False) as client:
        assert [cm async for cm in client.list(ConfigMap)] == []


async def test_a_silent_watch_stays_open_and_says_nothing(api: KubeApi, raw: ApiClient) -> None:
    async with raw.watch(CONFIG_MAPS, timeoutSeconds="1") as events:
        put(api, "before")
        assert (await anext(events))["object"]["metadata"]["name"] == "before"
        with api.silence("ConfigMap"):
            put(api, "during")
            assert await silent(events)
            # Reading still shows it, and a watch that begins now is as dead.
            listed = await raw.did("GET", raw.path(CONFIG_MAPS))
            assert len(listed["items"]) == 2
            async with raw.watch(CONFIG_MAPS) as begun:
                assert await silent(begun)
        assert api.watching("ConfigMap") >= 1
    async with raw.watch(CONFIG_MAPS) as events:
        names = {(await anext(events))["object"]["metadata"]["name"] for _ in range(2)}
    assert names == {"before", "during"}


async def test_silence_is_of_one_kind(api: KubeApi, raw: ApiClient) -> None:
    with api.silence("Secret"):
        async with raw.watch(CONFIG_MAPS) as events:
            put(api, "heard")
            assert (await anext(events))["type"] == "ADDED"


async def test_a_cut_watch_ends_and_goes_on_where_it_was(api: KubeApi, raw: ApiClient) -> None:
    async with raw.watch(CONFIG_MAPS) as events:
        put(api, "one")
        seen = version((await anext(events))["object"])
        api.break_watches("ConfigMap")
        put(api, "two")
        with pytest.raises(aiohttp.ClientPayloadError):
            await anext(events)
    async with raw.watch(CONFIG_MAPS, resourceVersion=seen) as events:
        assert (await anext(events))["object"]["metadata"]["name"] == "two"


async def test_a_version_that_is_forgotten_is_gone(api: KubeApi, raw: ApiClient) -> None:
    listed = await raw.did("GET", raw.path(CONFIG_MAPS))
    put(api, "one")
    api.forget_history()
    async with raw.watch(CONFIG_MAPS, resourceVersion=version(listed)) as events:
        event = await anext(events)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_bookmarks_come_now_and_then() -> None:
    async with (
        KubeApi(bookmark_every=0.05) as api,
        connected(api.config, NAMESPACE) as raw,
        raw.watch(CONFIG_MAPS, allowWatchBookmarks="true") as events,
    ):
        assert (await anext(events))["type"] == "BOOKMARK"


async def test_requests_fail_as_often_as_told(api: KubeApi, raw: ApiClient) -> None:
    api.fail_next(2, 503, method="POST", path="configmaps")
    path = raw.path(CONFIG_MAPS)
    assert (await raw.ask("GET", path))[0] == 200
    answers = [(await raw.ask("POST", path, config_map("late")))[0] for _ in range(3)]
    assert answers == [503, 503, 201]
    assert [request.status for request in api.requests("POST")] == [503, 503, 201]


async def test_deployments_get_ready_when_told(api: KubeApi, client: AsyncClient) -> None:
    made = await client.apply(deployment("a:1"))
    assert made.status is None or not made.status.readyReplicas
    api.deployments_get_ready = True
    await client.apply(deployment("a:2"))
    await asyncio.sleep(0)
    found = await client.get(Deployment, "a")
    assert found.status.readyReplicas == 1
    assert found.status.observedGeneration == found.metadata.generation == 2
    api.set_deployment_ready(NAMESPACE, "a", ready=False)
    found = await client.get(Deployment, "a")
    assert not found.status.readyReplicas


async def test_what_it_does_not_do_is_refused(raw: ApiClient) -> None:
    path = raw.path(CONFIG_MAPS)
    await raw.did("POST", path, config_map("there"))
    status, why = await raw.ask("GET", path, shardSelector="a")
    assert (status, "does not know" in why["message"]) == (400, True)
    status, _ = await raw.ask("DELETE", f"{path}/there", propagationPolicy="Foreground")
    assert status == 422
    strategic = "application/strategic-merge-patch+json"
    status, _ = await raw.ask("PATCH", f"{path}/there", {"data": {}}, strategic)
    assert status == 415
