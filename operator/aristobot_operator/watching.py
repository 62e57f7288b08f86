"""Follows the watched kinds with kopf and puts what they show into the cache; nothing else.

Only `on.event` handlers: kopf then writes nothing of its own on the users' objects (no annotation,
no finalizer), and keeps the watches alive: it reconnects, resumes by bookmarks, and gives up on a
connection that has been silent for too long. Deciding and acting are the workers'.

kopf has a thread and an event loop of its own: when it ends, it cancels every task of its loop that
began after it did, and it takes the process's signals for itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

import kopf
import uvloop

from aristobot.contracts.kubernetes import GROUP, VERSION
from aristobot.core.errors import Retryable
from aristobot_operator.cache import Cache
from aristobot_operator.settings import OperatorSettings

_KINDS = (
    ("Secret", "", "v1", "secrets"),
    ("ConfigMap", "", "v1", "configmaps"),
    ("Pod", "", "v1", "pods"),
    ("Deployment", "apps", "v1", "deployments"),
    ("Broker", GROUP, VERSION, "brokers"),
    ("Strategy", GROUP, VERSION, "strategies"),
    ("ActiveStrategy", GROUP, VERSION, "activestrategies"),
)
#: The server ends a watch by itself after so long, and kopf begins a new one.
_SERVER_SECONDS = 300
#: So long kopf has to end in order; what it would still do then is of no use to anybody.
_END_SECONDS = 1.0


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf compares each object with how it last was; no handler of ours asks for that.

    It copies every object for it, several times, which took half of its time.
    """

    def fetch(self, *, body: kopf.Body) -> None:
        return None

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        return None


class Watches:
    """What they show goes into the cache, which tells who wants to know."""

    def __init__(
        self,
        settings: OperatorSettings,
        cache: Cache,
        *,
        registry: kopf.OperatorRegistry | None = None,
    ) -> None:
        self._settings = settings
        self._cache = cache
        # The default one brings the ways to log in: service account, kubeconfig.
        self._registry = registry or kopf.get_default_registry()
        self._ours: asyncio.AbstractEventLoop
        #: How much each kind's watch has shown so far.
        self.shown: Counter[str] = Counter()
        for kind, group, version, plural in _KINDS:
            self._follow(kind, group, version, plural)

    async def run(self) -> None:
        """Watch for ever; ends on cancellation, and raises what ended kopf by itself."""
        ours = self._ours = asyncio.get_running_loop()
        stop, ended = threading.Event(), Future[None]()

        def watch() -> None:
            try:
                uvloop.run(self._watch(stop))
            except BaseException as error:  # noqa: BLE001  # the thread's boundary: raised below
                ended.set_exception(error)
            else:
                ended.set_exception(Retryable("kopf has stopped watching"))

        # A daemon: a kopf that can't end may not keep the process from ending.
        threading.Thread(target=watch, name="watches", daemon=True).start()
        watching = asyncio.wrap_future(ended, loop=ours)
        try:
            await asyncio.shield(watching)
        finally:
            stop.set()
            ended_too, _ = await asyncio.wait([watching], timeout=_END_SECONDS)
            for each in ended_too:
                each.exception()  # asked for: at our own end it is no news

    async def _watch(self, stop: threading.Event) -> None:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        # No list of namespaces and CRDs: that would need rights on the whole cluster.
        settings.scanning.disabled = True
        settings.watching.server_timeout = _SERVER_SECONDS
        settings.persistence.diffbase_storage = _NoDiffs()
        try:
            await kopf.operator(
                registry=self._registry,
                settings=settings,
                namespaces=self._settings.namespaces,
                standalone=True,
                stop_flag=stop,
            )
        finally:
            stop.set()  # a thread waits for it, and the loop for that thread

    def _follow(self, kind: str, group: str, version: str, plural: str) -> None:
        # No filter by labels: kopf asks for all anyway, and wouldn't say that one was taken off.
        async def show(event: Any, **_: Any) -> None:
            self._ours.call_soon_threadsafe(self._show, kind, event["type"], event["object"])

        kopf.on.event(group, version, plural, id=f"watch-{plural}", registry=self._registry)(show)

    def _show(self, kind: str, change: str | None, found: dict[str, Any]) -> None:
        """Take one event. `change`: ADDED, MODIFIED, DELETED, or None when listed at start."""
        self.shown[kind] += 1
        found = {"kind": kind, **found}
        if change == "DELETED":
            self._cache.remove(kind, found)
        else:
            self._cache.put(kind, found)
