"""The definitions on a real API server, which judges resources as `support.admission` does.

They are put under a group of their own, so that nothing else on the cluster is touched, and taken
away again. Every resource is only asked for (`dryRun`), so no operator ever sees one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aristobot.contracts.crds.definitions import KINDS, definition
from aristobot.contracts.crds.rules import RULES
from aristobot.contracts.kubernetes import GROUP, VERSION
from tests.support.admission import admit
from tests.support.documents import BAD, CHANGES, GOOD, document
from tests.support.kube_api.bare import ApiClient, connected

TEST_GROUP = "crds-test.aristobot.io"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SECONDS = 30


def _definition(kind: str) -> dict[str, Any]:
    crd = definition(kind)
    crd["metadata"] = {"name": crd["metadata"]["name"].replace(GROUP, TEST_GROUP)}
    crd["spec"]["group"] = TEST_GROUP
    # Short names of both groups would compete in kubectl.
    del crd["spec"]["names"]["shortNames"], crd["spec"]["names"]["categories"]
    return crd


def _condition(crd: dict[str, Any], kind: str) -> bool:
    conditions = crd["status"]["conditions"] or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


async def _install(server: ApiClient) -> None:
    async with asyncio.timeout(_SECONDS):
        for kind in KINDS:
            crd = _definition(kind)
            await server.did("POST", _DEFINITIONS, crd)
            path = f"{_DEFINITIONS}/{crd['metadata']['name']}"
            while not _condition(found := await server.did("GET", path), "Established"):
                await asyncio.sleep(0.1)
            # What the server says of a schema that isn't structural, or that it can't publish.
            assert not _condition(found, "NonStructuralSchema"), found["status"]
            listing = server.path(f"{TEST_GROUP}/{VERSION}/{crd['spec']['names']['plural']}")
            while (await server.ask("GET", listing))[0] != 200:
                await asyncio.sleep(0.1)


async def _remove(server: ApiClient) -> None:
    async with asyncio.timeout(_SECONDS):
        for kind in KINDS:
            path = f"{_DEFINITIONS}/{_definition(kind)['metadata']['name']}"
            while (await server.ask("DELETE", path))[0] != 404:
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def renamed_definitions(cluster: dict[str, Any]) -> Iterator[None]:
    async def do(work: Any) -> None:
        async with connected(cluster, "default") as server:
            await work(server)

    asyncio.run(do(_remove))  # of a run that was killed
    asyncio.run(do(_install))
    yield
    asyncio.run(do(_remove))


@pytest.fixture
async def server(cluster: dict[str, Any], renamed_definitions: None) -> AsyncIterator[ApiClient]:
    async with connected(cluster, "default") as client:
        yield client


def _collection(server: ApiClient, kind: str, name: str = "") -> str:
    plural = definition(kind)["spec"]["names"]["plural"]
    return server.path(f"{TEST_GROUP}/{VERSION}/{plural}", name)


def _under_test(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {**document(kind, name, **spec), "apiVersion": f"{TEST_GROUP}/{VERSION}"}


async def _ask(
    server: ApiClient, kind: str, spec: dict[str, Any], name: str = "main"
) -> tuple[int, dict[str, Any]]:
    body = _under_test(kind, name, spec)
    path = _collection(server, kind)
    return await server.ask("POST", path, body, dryRun="All", fieldValidation="Strict")


async def test_what_is_right_is_stored_with_its_defaults(server: ApiClient) -> None:
    for kind, spec in GOOD:
        status, answer = await _ask(server, kind, spec)
        assert status == 201, (kind, spec, answer["message"])
        assert answer["spec"] == admit(document(kind, **spec))[0]["spec"]


async def test_what_is_wrong_is_refused_with_the_way_to_it(server: ApiClient) -> None:
    messages = {rule.message for rules in RULES.values() for rule in rules}
    for kind, spec, _ in BAD:
        status, answer = await _ask(server, kind, spec)
        assert status in (400, 422), (kind, spec, status)
        for problem in admit(document(kind, **spec))[1]:
            path, _, text = problem.partition(": ")
            assert path.removeprefix(".") in answer["message"]
            if text in messages:
                assert text in answer["message"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_no_label_holds_is_refused(server: ApiClient, kind: str) -> None:
    assert (await _ask(server, kind, {}, "a" * 50))[0] == 201
    for name in ("a" * 51, "a.b"):
        status, answer = await _ask(server, kind, {}, name)
        assert status == 422
        assert "metadata.name must have at most 50 characters and no dot" in answer["message"]


async def test_to_what_orders_belong_is_kept(server: ApiClient) -> None:
    for kind, before, after, kept in CHANGES:
        path = _collection(server, kind, "changed")
        await server.did("POST", _collection(server, kind), _under_test(kind, "changed", before))
        try:
            now = await server.did("GET", path)
            now["spec"] = _under_test(kind, "changed", after)["spec"]
            status, answer = await server.ask("PUT", path, now, dryRun="All")
            assert status == (200 if kept is None else 422), answer
            if kept is not None:
                assert f"spec.{kept}" in answer["message"]
                assert "apply it under a new name" in answer["message"]
        finally:
            await server.did("DELETE", path)


async def test_strategies_at_work_can_be_asked_for_by_what_they_name(server: ApiClient) -> None:
    for field in ("spec.brokerRef.name=main", "spec.strategyRef.name=ema", "spec.symbol=BTCUSDT"):
        path = _collection(server, "ActiveStrategy")
        status, answer = await server.ask("GET", path, fieldSelector=field)
        assert status == 200, answer
