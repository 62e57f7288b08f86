"""Writes how a resource fares into its status: the Ready condition and what belongs beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_store import StoredResource


async def report_ready(
    store: PostgresResourceStore,
    resource: StoredResource,
    *,
    ready: bool,
    reason: str,
    text: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write condition and `more` when they differ from what stands there."""
    before = _ready_condition(resource.status)
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": reason,
        "message": text,
        "observedGeneration": resource.generation,
    }
    is_same = before is not None and before.get("status") == condition["status"]
    since = before["lastTransitionTime"] if before and is_same else _now()
    status = {
        "observedGeneration": resource.generation,
        **(more or {}),
        "conditions": [{**condition, "lastTransitionTime": since}],
    }
    if status != resource.status:
        await store.set_status(resource.owner, resource.kind, resource.name, status)


def _ready_condition(status: Mapping[str, Any]) -> dict[str, Any] | None:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "Ready":
            return dict(condition)
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
