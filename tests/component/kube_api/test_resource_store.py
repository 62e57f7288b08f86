"""The ResourceStore on custom resources keeps a store's promises, and a cluster's own troubles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.support.resource_stores")

from aristobot.contracts.resources import Document, parse_document  # noqa: E402
from aristobot.core.errors import Misconfigured, Retryable  # noqa: E402
from aristobot.platform import kube_api  # noqa: E402
from aristobot.platform.kubeconfig import read_access  # noqa: E402
from aristobot.platform.kubernetes_store import (  # noqa: E402
    KubernetesResourceStore,
    open_kubernetes_store,
)
from aristobot.platform.resource_store import Applied  # noqa: E402
from tests.support.kube_api import KubeApi, definitions  # noqa: E402
from tests.support.resource_stores import (  # noqa: E402
    Place,
    ResourceStoreConformance,
    active,
    broker,
    secret,
    stands,
)

CRDS = definitions()


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi(namespaces=("alice", "bob"), crds=CRDS) as api:
        yield api


@pytest.fixture
async def store(api: KubeApi, tmp_path: Path) -> AsyncIterator[KubernetesResourceStore]:
    file = api.write_kubeconfig(tmp_path / "kubeconfig")
    async with open_kubernetes_store(read_access(None, {"KUBECONFIG": str(file)})) as store:
        yield store


@pytest.fixture
def place(store: KubernetesResourceStore) -> Place:
    return Place(store, "alice", "bob")


class TestKubernetes(ResourceStoreConformance):
    pass


async def test_applying_leaves_what_is_not_the_spec(place: Place, api: KubeApi) -> None:
    await place.store.apply("alice", broker())
    marks = {
        "labels": {"team": "a"},
        "annotations": {"why": "b"},
        "finalizers": ["trading.aristobot.io/in-use"],
    }
    api.patch("Broker", "alice", "main", {"metadata": marks})
    api.set_status("Broker", "alice", "main", {"phase": "Running"})
    assert await place.store.apply("alice", broker(tradingMode="webhook")) is Applied.CONFIGURED
    found = api.get("Broker", "alice", "main")
    assert {key: found["metadata"][key] for key in marks} == marks
    assert found["status"] == {"phase": "Running"}


async def test_a_file_s_labels_and_annotations_come_beside_those_of_others(
    place: Place, api: KubeApi
) -> None:
    head = {"apiVersion": "trading.aristobot.io/v1alpha1", "kind": "Broker"}
    spec = {"exchange": "binance", "environment": "simulator"}
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}

    def labelled(**metadata: object) -> Document:
        return parse_document({**head, "metadata": {"name": "main", **metadata}, "spec": spec})

    disabled = {"trading.aristobot.io/reconcile": "disabled"}
    await place.store.apply("alice", labelled(annotations={**disabled, **last_applied}))
    found = api.get("Broker", "alice", "main")["metadata"]
    assert found["annotations"] == disabled
    assert "labels" not in found
    for labels, outcome in (
        ({"team": "a"}, Applied.CONFIGURED),
        ({"team": "a"}, Applied.UNCHANGED),
        ({"a.b/c": "d"}, Applied.CONFIGURED),
        (None, Applied.UNCHANGED),
    ):
        assert await place.store.apply("alice", labelled(labels=labels)) is outcome
    found = api.get("Broker", "alice", "main")["metadata"]
    assert found["labels"] == {"team": "a", "a.b/c": "d"}
    assert found["annotations"] == disabled
    with pytest.raises(Misconfigured, match=r"metadata\.labels\.team"):
        labelled(labels={"team": 7})


async def test_fields_that_the_cluster_does_not_know_are_not_dropped_in_silence(
    place: Place, api: KubeApi
) -> None:
    await place.store.apply("alice", broker())
    await place.store.apply("alice", broker(number=3))
    await place.store.apply("alice", active())
    await place.store.change(await stands(place, active()), {"paused": True})
    writes = [r for r in api.history if r.method in ("POST", "PATCH")]
    assert len(writes) == 4
    for write in writes:
        assert write.query["fieldValidation"] == "Strict"
        assert write.query["fieldManager"] == "aristobot-cli"


async def test_what_waits_for_its_end_says_so(place: Place, api: KubeApi) -> None:
    await place.store.apply("alice", active())
    finalizers = {"finalizers": ["trading.aristobot.io/wind-down"]}
    api.patch("ActiveStrategy", "alice", "ema-btc", {"metadata": finalizers})
    assert await place.store.delete("alice", "ActiveStrategy", "ema-btc")
    stored = await stands(place, active())
    assert stored.deletion_asked_at is not None
    assert "deletionTimestamp" in stored.document()["metadata"]
    assert stored.parse(type(active())).spec == active().spec


@pytest.mark.parametrize("again", [active(), active(timeframe="5m")], ids=["same", "changed"])
async def test_what_is_being_deleted_is_not_applied(
    place: Place, api: KubeApi, again: Document
) -> None:
    """It would be "unchanged" or "configured", and gone a moment later."""
    await place.store.apply("alice", active())
    finalizers = {"finalizers": ["trading.aristobot.io/wind-down"]}
    api.patch("ActiveStrategy", "alice", "ema-btc", {"metadata": finalizers})
    await place.store.delete("alice", "ActiveStrategy", "ema-btc")
    before = await stands(place, active())
    with pytest.raises(Retryable, match="ema-btc is being deleted: apply it again once it is gone"):
        await place.store.apply("alice", again)
    assert await stands(place, active()) == before
    api.patch("ActiveStrategy", "alice", "ema-btc", {"metadata": {"finalizers": []}})
    assert await place.store.apply("alice", again) is Applied.CREATED


async def test_a_secret_of_another_type_is_not_changed(place: Place, api: KubeApi) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    entries = {"data": {"tls.crt": "", "tls.key": ""}}
    api.put({**made, "metadata": {"name": "keys", "namespace": "alice"}, **entries})
    with pytest.raises(Misconfigured, match="immutable"):
        await place.store.apply("alice", secret(apiKey="x"))
    assert api.get("Secret", "alice", "keys")["type"] == "kubernetes.io/tls"


async def test_a_namespace_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(Misconfigured, match="there is no namespace carol: `kubectl create"):
        await place.store.apply("carol", broker())
    assert await place.store.list("carol", "Broker") == []


async def test_a_cluster_without_our_resources_is_told_from_a_missing_one(tmp_path: Path) -> None:
    async with KubeApi(namespaces=("alice",), crds=()) as api:
        file = api.write_kubeconfig(tmp_path / "kubeconfig")
        async with open_kubernetes_store(read_access(None, {"KUBECONFIG": str(file)})) as store:
            for call in (
                store.apply("alice", broker()),
                store.list("alice", "Broker"),
                store.get("alice", "Broker", "main"),
                store.delete("alice", "Broker", "main"),
            ):
                with pytest.raises(Misconfigured, match="install the chart aristobot-crds"):
                    await call


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b", "*", "A"])
async def test_a_name_never_becomes_a_path_to_something_else(
    place: Place, api: KubeApi, name: str
) -> None:
    await place.store.apply("alice", broker())
    for call in (
        place.store.delete("alice", "Broker", name),
        place.store.get("alice", "Broker", name),
        place.store.delete(name, "Broker", "main"),
    ):
        with pytest.raises(Misconfigured):
            await call
    assert api.find("Broker", "alice", "main")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_may_be_asked_again(
    place: Place, api: KubeApi, status: int
) -> None:
    api.fail_next(1, status)
    with pytest.raises(Retryable, match=f"answered {status}"):
        await place.store.list("alice", "Broker")
    assert await place.store.list("alice", "Broker") == []


@pytest.mark.parametrize("status", [400, 403, 422])
async def test_a_refusal_reaches_the_user_in_the_server_s_words(
    place: Place, api: KubeApi, status: int
) -> None:
    api.fail_next(1, status, method="POST")
    with pytest.raises(Misconfigured, match="a test wants this request to fail"):
        await place.store.apply("alice", broker())


async def test_credentials_that_are_not_accepted(place: Place, api: KubeApi) -> None:
    api.fail_next(1, 401)
    with pytest.raises(Misconfigured, match="aristobot-double doesn't accept your credentials"):
        await place.store.list("alice", "Broker")


async def test_what_others_do_between_two_requests_is_no_error(place: Place, api: KubeApi) -> None:
    api.fail_next(1, 409, method="POST")
    assert await place.store.apply("alice", active()) is Applied.CREATED
    api.fail_next(2, 409, method="PATCH")
    await place.store.change(await stands(place, active()), {"paused": True})
    assert api.get("ActiveStrategy", "alice", "ema-btc")["spec"]["paused"]
    api.fail_next(100, 409, method="PATCH")
    with pytest.raises(Retryable, match="changed by others all the time"):
        await place.store.apply("alice", active())


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with KubeApi(namespaces=("alice",)) as api:
        file = api.write_kubeconfig(tmp_path / "kubeconfig")
    async with open_kubernetes_store(read_access(None, {"KUBECONFIG": str(file)})) as store:
        with pytest.raises(Retryable, match=r"doesn't answer: .*; is the cluster up"):
            await store.list("alice", "Broker")


async def test_a_server_that_does_not_answer_leaves_the_change_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "_TIMEOUT_SECONDS", 0.2)
    async with KubeApi(namespaces=("alice",)) as api:
        config = api.config
    server = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    try:
        async with open_kubernetes_store(read_access(None, {"KUBECONFIG": str(file)})) as store:
            with pytest.raises(Retryable, match=r"gave no whole answer: \w+$"):
                await store.list("alice", "Broker")
            with pytest.raises(Retryable, match="whether the change was made is not known"):
                await store.delete("alice", "Broker", "main")
    finally:
        server.close()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_login_plugin_is_asked_for_a_token(
    api: KubeApi, tmp_path: Path, version: str
) -> None:
    plugin = tmp_path / "login"
    asked = tmp_path / "asked"
    answer = json.dumps({"status": {"token": "abc"}})
    plugin.write_text(f"#!/bin/sh\nprintenv KUBERNETES_EXEC_INFO > {asked}\necho '{answer}'\n")
    plugin.chmod(0o755)
    async with _with_plugin(api, tmp_path, "./login", version) as store:
        assert await store.list("alice", "Broker") == []
    told = json.loads(asked.read_text())
    assert told["apiVersion"] == f"client.authentication.k8s.io/{version}"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "login plugin gave no token"),
        ("exit 3", "returned 3"),
        ("echo nonsense", "login plugin gave no token"),
        ('echo \'{"status": {"clientCertificateData": "x"}}\'', "login plugin gave no token"),
    ],
    ids=["missing", "failing", "no-json", "certificate"],
)
async def test_a_login_plugin_that_does_not_help_is_named(
    api: KubeApi, tmp_path: Path, script: str | None, said: str
) -> None:
    if script is not None:
        (tmp_path / "login").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "login").chmod(0o755)
    async with _with_plugin(api, tmp_path, "./login", "v1") as store:
        with pytest.raises(Misconfigured, match=f"^context aristobot-double: .*{said}"):
            await store.list("alice", "Broker")


@asynccontextmanager
async def _with_plugin(
    api: KubeApi, folder: Path, command: str, version: str
) -> AsyncIterator[KubernetesResourceStore]:
    config = api.config
    plugin = {"apiVersion": f"client.authentication.k8s.io/{version}", "command": command}
    config["users"][0]["user"] = {"exec": plugin}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    async with open_kubernetes_store(read_access(None, {"KUBECONFIG": str(file)})) as store:
        yield store
