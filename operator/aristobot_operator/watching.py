"""Follows the watched kinds with kopf and puts what they show into the cache; nothing else.

Only `on.event` handlers: kopf then writes nothing of its own on the users' objects (no annotation,
no finalizer), and keeps the watches alive: it reconnects, resumes by bookmarks, and gives up on a
connection that has been silent for too long. Deciding and acting are the workers'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import kopf

from aristobot.contracts.kubernetes import GROUP, MANAGED_BY_LABEL, OPERATOR, VERSION
from aristobot_operator.cache import Cache
from aristobot_operator.settings import OperatorSettings
from aristobot_operator.work_queue import Key

_KINDS = (
    ("Secret", "", "v1", "secrets", None),
    ("ConfigMap", "", "v1", "configmaps", None),
    ("Pod", "", "v1", "pods", {MANAGED_BY_LABEL: OPERATOR}),
    ("Deployment", "apps", "v1", "deployments", {MANAGED_BY_LABEL: OPERATOR}),
    ("Broker", GROUP, VERSION, "brokers", None),
    ("Strategy", GROUP, VERSION, "strategies", None),
    ("ActiveStrategy", GROUP, VERSION, "activestrategies", None),
)
#: The server ends a watch by itself after so long, and kopf begins a new one.
_SERVER_SECONDS = 300


class Watches:
    """`look_at` is told of every resource that a change may matter to; `changed` of the change."""

    def __init__(
        self,
        settings: OperatorSettings,
        cache: Cache,
        look_at: Callable[[Key], None],
        changed: Callable[[str], None],
        *,
        registry: kopf.OperatorRegistry | None = None,
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._look_at = look_at
        self._changed = changed
        # The default one brings the ways to log in: service account, kubeconfig.
        self._registry = registry or kopf.get_default_registry()
        for kind, group, version, plural, labels in _KINDS:
            self._follow(kind, group, version, plural, labels)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set; sets it when kopf was told to stop by a signal."""
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        # No list of namespaces and CRDs: that would need rights on the whole cluster.
        settings.scanning.disabled = True
        settings.watching.server_timeout = _SERVER_SECONDS
        await kopf.operator(
            registry=self._registry,
            settings=settings,
            namespaces=self._settings.namespaces,
            standalone=True,
            stop_flag=stop,
        )
        stop.set()

    def _follow(
        self, kind: str, group: str, version: str, plural: str, labels: dict[str, str] | None
    ) -> None:
        async def show(event: Any, **_: Any) -> None:
            self.show(kind, event["type"], event["object"])

        kopf.on.event(
            group,
            version,
            plural,
            id=f"watch-{plural}",
            labels=labels,
            registry=self._registry,
        )(show)

    def show(self, kind: str, change: str | None, found: dict[str, Any]) -> None:
        """Take one event. `change`: ADDED, MODIFIED, DELETED, or None when listed at start."""
        found = {"kind": kind, **found}
        # Whom it mattered to before counts too: a reference may have been taken away.
        concerned = set(self._cache.concerned(kind, found))
        if change == "DELETED":
            self._cache.remove(kind, found)
        else:
            self._cache.put(kind, found)
            concerned |= set(self._cache.concerned(kind, found))
        for key in sorted(concerned):
            self._look_at(key)
        self._changed(kind)
