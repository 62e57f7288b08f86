"""Watches: changes as a stream of lines, resumed by resource version.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.kube_api.failures import Failure
from tests.support.kube_api.kinds import Kind
from tests.support.kube_api.selectors import Matches
from tests.support.kube_api.store import Change, Store

Object = dict[str, Any]


@dataclass(eq=False)
class Watch:
    """One watch. `seen`: all changes up to this version have been delivered or don't concern it."""

    store: Store
    kind: Kind
    namespace: str
    matches: Matches
    bookmarks: bool
    seen: int = 0
    #: Delivers nothing any more, like a connection whose other end is gone without a word.
    silent: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self._changed.set()

    def initial(self) -> list[Object]:
        """What is there now, as if just created."""
        self.seen = self.store.version
        found = self.store.list(self.kind, self.namespace)
        return [{"type": "ADDED", "object": obj} for obj in found if self.matches(obj)]

    def bookmark(self, *, ends_initial: bool = False) -> Object:
        metadata: Object = {"resourceVersion": str(self.seen), "creationTimestamp": None}
        if ends_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": obj}

    async def events(self, *, timeout: float, bookmark_every: float) -> AsyncIterator[Object]:
        """Until `timeout` seconds have passed; silent ones never end. In the end comes no bookmark:
        a real server sends one only now and then."""
        clock = asyncio.get_running_loop().time
        ends, next_bookmark = clock() + timeout, clock() + bookmark_every
        while True:
            self._changed.clear()
            if self.silent:
                await self._changed.wait()
                continue
            if self.seen < self.store.oldest:
                yield {"type": "ERROR", "object": too_old(self.seen, self.store.oldest).body}
                return
            for change in [c for c in self.store.changes if c.version > self.seen]:
                self.seen = change.version
                if (event := self._event(change)) is not None:
                    yield event
            if clock() >= ends:
                return
            if self.bookmarks and clock() >= next_bookmark:
                yield self.bookmark()
                next_bookmark = clock() + bookmark_every
            try:
                async with asyncio.timeout_at(min(ends, next_bookmark)):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _event(self, change: Change) -> Object | None:
        """What the change means to who sees only what matches."""
        if change.kind is not self.kind:
            return None
        shown = change.new or change.old
        assert shown is not None
        if self.namespace and shown["metadata"].get("namespace") != self.namespace:
            return None
        was = change.old is not None and self.matches(change.old)
        now = change.new is not None and self.matches(change.new)
        if not was and not now:
            return None
        name = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
        if name == "DELETED" and change.new is not None:
            # It has only left the selection; it is shown as it was, at the version of the change.
            metadata = {**change.old["metadata"], "resourceVersion": str(change.version)}  # type: ignore[index]
            shown = {**change.old, "metadata": metadata}  # type: ignore[dict-item]
        return {"type": name, "object": shown}


def too_old(asked: int, oldest: int) -> Failure:
    return Failure(410, f"too old resource version: {asked} ({oldest})")


def line(event: Object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
