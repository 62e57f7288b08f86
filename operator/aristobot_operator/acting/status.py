"""Writes a resource's status, when it differs, and an Event when its Ready condition turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aristobot_operator.acting.events import Events
from aristobot_operator.cache import Cache, name_of, namespace_of
from aristobot_operator.conditions import State, condition_of, make_status, status_patch
from aristobot_operator.kube import Kube, Object
from aristobot_operator.reasons import Condition, EventReason


class StatusWriter:
    def __init__(self, kube: Kube, cache: Cache, events: Events) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events

    async def write(
        self,
        found: Object,
        states: Sequence[State],
        phase: str,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """`states` with Ready among them. Raises `Gone` when the resource is."""
        # A pass may write twice, and `found` is from before the first time.
        current = self._cache.get(found["kind"], namespace_of(found), name_of(found)) or found
        before = current.get("status") or {}
        after = make_status(
            states,
            generation=found["metadata"]["generation"],
            phase=phase,
            before=before,
            now=datetime.now(UTC),
            more=more,
        )
        patch = status_patch(before, after)
        if patch is None:
            return
        kind = found["kind"]
        written = await self._kube.set_status(kind, namespace_of(found), name_of(found), patch)
        self._cache.put(kind, written)
        await self._tell(found, before, after)

    async def _tell(
        self, found: Object, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> None:
        was, now = (condition_of(each, Condition.READY) for each in (before, after))
        if now is None or (was is not None and was["status"] == now["status"]):
            return
        if now["status"] == "True":
            await self._events.write(found, "Normal", EventReason.READY, now["message"])
        elif was is not None:  # what was never ready isn't worth a warning
            text = f"{now['reason']}: {now['message']}"
            await self._events.write(found, "Warning", EventReason.NOT_READY, text)
