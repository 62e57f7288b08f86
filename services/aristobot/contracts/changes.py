"""What may not be done to a resource that is there: fields that are kept, and a deletion.

Pure twins of what Kubernetes does (a rule of the schema, a finalizer), for the embedded platform.
They judge specs as they are stored, in JSON and without defaults, so that one which was valid only
for an earlier version can still be repaired or deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aristobot.contracts.resources import OnDelete

Spec = Mapping[str, Any]

#: By kind: fields of the spec to which orders and positions belong, by their names in YAML.
KEPT_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Broker": ("exchange", "environment"),
    "ActiveStrategy": ("brokerRef", "symbol"),
}


def kept_text(kind: str, field: str) -> str:
    """Says that the field is kept, and what to do instead."""
    return (
        f"{field} can't be changed, because orders and positions belong to it: delete this {kind} "
        "and apply it under a new name"
    )


def refused_change(kind: str, before: Spec, after: Spec) -> str | None:
    """Why `after` can't take the place of `before`; None when it can."""
    for field in KEPT_FIELDS.get(kind, ()):
        if before.get(field) != after.get(field):
            return f"spec.{field}: {kept_text(kind, field)}"
    return None


def refused_deletion(kind: str, name: str, spec: Spec) -> str | None:
    """Why the embedded platform, which has no finalizers, doesn't delete it; None when it does."""
    wish = spec.get("onDelete", OnDelete.DETACH)
    if kind != "ActiveStrategy" or wish == OnDelete.DETACH:
        return None
    return (
        f"{name} has onDelete: {wish}, which is carried out on Kubernetes alone: run `aristobot "
        f"strategy sell {name}` if its position shall go, then apply it with onDelete: detach and "
        "delete it"
    )
