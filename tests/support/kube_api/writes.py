"""Which parts of an object a write through a path can touch, and what patches make. Pure."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.kube_api.kinds import Kind

Object = dict[str, Any]

#: Metadata that only the server writes.
SERVER_METADATA = ("uid", "creationTimestamp", "generation", "deletionTimestamp")


def part(kind: Kind, config: Object, subresource: str) -> Object:
    """What of an applied configuration is written through this path."""
    if subresource:
        metadata = {"name": config["metadata"]["name"]}
        return {"metadata": metadata, subresource: config.get(subresource, {})}
    if not kind.status:
        return config
    return {key: value for key, value in config.items() if key != "status"}


def written(kind: Kind, live: Object, new: Object, subresource: str) -> Object:
    """`new`, with what this path can't write taken from `live`."""
    if subresource:
        made = copy.deepcopy(live)
        made.pop(subresource, None)
        if subresource in new:
            made[subresource] = copy.deepcopy(new[subresource])
        return made
    made = copy.deepcopy(new)
    made["apiVersion"], made["kind"] = kind.api_version, kind.kind
    metadata = made.setdefault("metadata", {})
    for name in ("name", "namespace", "resourceVersion", "generateName", *SERVER_METADATA):
        metadata.pop(name, None)
        if name in live["metadata"]:
            metadata[name] = live["metadata"][name]
    metadata.pop("managedFields", None)
    for name in [name for name, value in metadata.items() if value in (None, [], {})]:
        del metadata[name]
    if kind.status:
        made.pop("status", None)
        if "status" in live:
            made["status"] = copy.deepcopy(live["status"])
    return made


def counted(obj: Object) -> Object:
    """What `metadata.generation` counts the changes of."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def merged(target: Any, patch: Any) -> Any:
    """What a merge patch makes of the target: RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found
