"""`KubeApi`: the running double, and what a test does with it."""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import kopf
import yaml
from aiohttp import web
from lightkube import AsyncClient, KubeConfig

from tests.support.kube_api.controllers import DeploymentController
from tests.support.kube_api.kinds import BUILT_IN, Kind, custom_kind
from tests.support.kube_api.server import Fault, Request, Server
from tests.support.kube_api.store import Change, Store, Write

Object = dict[str, Any]
CRDS = Path(__file__).parents[3] / "crds"
_TEST = Write("test")


def definitions(folder: Path = CRDS) -> list[Object]:
    """The CustomResourceDefinitions in the YAML files of a folder."""
    return copy.deepcopy(_read_definitions(folder))


@functools.cache  # Each test starts a double, and reading these takes longest.
def _read_definitions(folder: Path) -> list[Object]:
    return [
        document
        for path in sorted(folder.glob("*.y*ml"))
        for document in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        if document and document.get("kind") == "CustomResourceDefinition"
    ]


@dataclass
class KubeApi:
    """Use as `async with KubeApi() as api`; it runs in the test's own event loop.

    `namespaces` are there from the start. `crds`: the definitions whose kinds are served; None for
    those in crds/. With `deployments_get_ready`, Deployments are Ready a moment after
    each write, as if pods ran; switch it at any time. `bookmark_every`: seconds.
    """

    namespaces: Iterable[str] = ("default", "aristobot")
    crds: Iterable[Mapping[str, Any]] | None = None
    deployments_get_ready: bool = False
    bookmark_every: float = 60.0
    url: str = ""
    store: Store = field(init=False)
    _server: Server = field(init=False)
    _runner: web.AppRunner = field(init=False)

    async def __aenter__(self) -> Self:
        crds = definitions() if self.crds is None else list(self.crds)
        custom = (kind for crd in crds for kind in custom_kind(crd))
        self.store = Store((*BUILT_IN, *custom))
        self._server = Server(self.store, self.bookmark_every)
        controller = DeploymentController(self.store, lambda: self.deployments_get_ready)
        self.store.listeners += [self._wake, controller.changed]
        for name in self.namespaces:
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for crd in crds:
            self.put(crd)
        self._runner = web.AppRunner(
            self._server.application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.break_watches()
        await self._runner.cleanup()

    # Ways in

    @property
    def login(self) -> kopf.ConnectionInfo:
        """For a `@kopf.on.login` handler to return."""
        return kopf.ConnectionInfo(server=self.url, default_namespace="default")

    @property
    def config(self) -> Object:
        """A kubeconfig."""
        name = "aristobot-double"
        context = {"cluster": name, "user": name, "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": context}],
        }

    def write_kubeconfig(self, path: Path) -> Path:
        path.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        return path

    def client(self, **options: Any) -> AsyncClient:
        """A lightkube client; the caller closes it."""
        return AsyncClient(config=KubeConfig.from_dict(self.config), trust_env=False, **options)

    # What a user would do with kubectl. Kinds are named as in `kind`, or as `group/Kind`.

    def put(self, obj: Mapping[str, Any]) -> Object:
        """Create the object, or make the one that is there so, but for status and finalizers.

        Like the methods below it goes past HTTP, so it is not in `history`.
        """
        kind = self.store.kind_of(obj["apiVersion"], obj["kind"])
        assert kind is not None, f"the double has no {obj['apiVersion']} {obj['kind']}"
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        there = self.find(f"{kind.group}/{kind.kind}", namespace, metadata["name"])
        if there is None:
            return self.store.create(kind, namespace, copy.deepcopy(dict(obj)), _TEST)
        kept = {"finalizers": there["metadata"].get("finalizers", [])}
        new = {**obj, "metadata": {**kept, **metadata, "resourceVersion": None}}
        return self.store.merge_patch(
            kind, namespace, metadata["name"], _replacing(there, new), _TEST
        )

    def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """A merge patch of all but the status."""
        return self.store.merge_patch(self.kind(kind), namespace, name, patch, _TEST)

    def set_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        """A merge patch of the status."""
        write = Write(_TEST.manager, "status")
        return self.store.merge_patch(self.kind(kind), namespace, name, {"status": status}, write)

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """Raises Failure (404) when it is not there."""
        return self.store.get(self.kind(kind), namespace, name)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        found = self.store.list(self.kind(kind), namespace)
        return next((obj for obj in found if obj["metadata"]["name"] == name), None)

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        return self.store.list(self.kind(kind), namespace)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.store.delete(self.kind(kind), namespace, name, {}, dry_run=False)

    def kind(self, name: str) -> Kind:
        group, _, bare = name.rpartition("/")
        found = [
            k for k in self.store.kinds if k.kind == bare and ("/" not in name or k.group == group)
        ]
        assert found, f"the double has no {name}"
        return found[0]

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The Secret's entries, decoded."""
        data = self.get("Secret", namespace, name).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def events(self, namespace: str = "") -> list[tuple[str, str, str, str]]:
        """Events of both APIs: type, reason, name of what it is about, message."""
        core = [(e, "involvedObject", "message") for e in self.list("/Event", namespace)]
        new = [(e, "regarding", "note") for e in self.list("events.k8s.io/Event", namespace)]
        return [
            (e["type"], e["reason"], e.get(about, {}).get("name", ""), e.get(text, ""))
            for e, about, text in (*core, *new)
        ]

    def set_deployment_ready(self, namespace: str, name: str, ready: bool = True) -> Object:
        """Make the Deployment's status say that all its replicas are there, or none."""
        return DeploymentController.settle(self.store, namespace, name, ready=ready)

    # Trouble

    @contextlib.contextmanager
    def silence(self, kind: str) -> Iterator[None]:
        """Watches of the kind, open or new, stay connected and deliver nothing.

        Afterwards new watches work; those that fell silent stay so until their client gives up.
        """
        silenced = self.kind(kind)
        self._server.silenced.add(silenced)
        for watch in self._server.watches:
            watch.silent = watch.silent or watch.kind is silenced
        try:
            yield
        finally:
            self._server.silenced.discard(silenced)

    def break_watches(self, kind: str | None = None) -> None:
        """Cut the connections of all watches, or of the kind's, in the middle of the stream."""
        for watch, request in list(self._server.watches.items()):
            # Without a transport, the client has just gone.
            chosen = kind is None or watch.kind is self.kind(kind)
            if chosen and request.transport is not None:
                request.transport.abort()

    def forget_history(self) -> None:
        """As etcd's compaction: watches that resume from before get 410 Gone."""
        self.store.forget()

    def fail_next(self, n: int, status: int, *, method: str | None = None, path: str = "") -> None:
        """Answer the next `n` requests of this method whose path contains `path` with `status`."""
        self._server.faults.append(Fault(n, status, method, path))

    def hang_next(self, n: int, *, method: str | None = None, path: str = "") -> Fault:
        """Take the next `n` such requests and never answer them; its `left` tells how many."""
        fault = Fault(n, None, method, path)
        self._server.faults.append(fault)
        return fault

    # Looking

    @property
    def history(self) -> list[Request]:
        return self._server.history

    def requests(self, method: str, path: str = "") -> list[Request]:
        """Those that came, watches aside, whose path contains `path`."""
        return [r for r in self.history if r.method == method and path in r.path and not r.watches]

    def watching(self, kind: str) -> int:
        """How many watches of the kind are open."""
        return sum(watch.kind is self.kind(kind) for watch in self._server.watches)

    def _wake(self, _: Change) -> None:
        for watch in self._server.watches:
            watch.wake()


def _replacing(old: Any, new: Any) -> Any:
    """The merge patch that makes `new` of `old`, but for the status and the server's metadata."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {
        **dict.fromkeys(old.keys() - new.keys() - {"status", "metadata"}),
        **{key: _replacing(old.get(key), value) for key, value in new.items()},
    }
