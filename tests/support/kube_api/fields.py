"""Who owns which field, and what server-side apply makes of it. Pure.

A field is a path: keys of maps, and for lists that are maps by a key ("containers" by name) the
key of the item. All other lists are one value. An owner is a manager, its operation and the
subresource, as in `metadata.managedFields` (which this double keeps but doesn't show).
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Object = dict[str, Any]


class Item(NamedTuple):
    """The place of a list's item: the values of its keys."""

    keys: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "[" + ",".join(f'{name}="{value}"' for name, value in self.keys) + "]"


Path = tuple["str | Item", ...]
Fields = frozenset[Path]

#: Lists that are maps, by the name of the field that holds them: the keys of their items. From
#: `x-kubernetes-list-map-keys` in Kubernetes' OpenAPI document, for what Aristobot applies.
LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
#: Lists that are sets of plain values.
SETS = frozenset({"finalizers"})
#: What a client can't own: it names the object, or the server writes it.
_NOT_OWNED = frozenset(
    {
        ("apiVersion",),
        ("kind",),
        *(
            ("metadata", name)
            for name in (
                *("name", "namespace", "generateName", "uid", "resourceVersion", "generation"),
                *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
                *("managedFields", "selfLink"),
            )
        ),
    }
)


class Owner(NamedTuple):
    manager: str
    operation: str  # Apply or Update
    subresource: str = ""


Owners = Mapping[Owner, Fields]


@dataclass(frozen=True)
class Conflict(Exception):
    """Fields that others own with another value: pairs of (manager, path as shown)."""

    fields: tuple[tuple[str, str], ...]


def fields_of(obj: Object) -> Fields:
    """All leaves, and the places of list items."""
    return frozenset(path for path in _walk(obj, ()) if path[:2] not in _NOT_OWNED) - _NOT_OWNED


def apply(
    live: Object, owners: Owners, config: Object, who: Owner, *, force: bool
) -> tuple[Object, dict[Owner, Fields]]:
    """The object after `who` has applied `config`, and who owns what then. Raises Conflict."""
    wanted = fields_of(config)
    others = {owner: held for owner, held in owners.items() if owner != who}
    in_the_way = {
        path: owner
        for owner, held in others.items()
        for path in wanted & held
        if _value(live, path) != _value(config, path)
    }
    if in_the_way and not force:
        found = sorted((owner.manager, shown(path)) for path, owner in in_the_way.items())
        raise Conflict(tuple(found))
    others = {owner: held - in_the_way.keys() for owner, held in others.items()}
    merged = _merge(live, config)
    dropped = owners.get(who, frozenset()) - wanted
    # The deepest first, so that a map that gets empty by it can go too. An item's keys stay for as
    # long as the item does.
    for path in sorted(dropped.difference(*others.values()), key=len, reverse=True):
        if not _is_key(path) and not any(
            _begins(kept, path) for held in (wanted, *others.values()) for kept in held
        ):
            _remove(merged, path)
    return merged, {owner: held for owner, held in {**others, who: wanted}.items() if held}


def update(old: Object, new: Object, owners: Owners, who: Owner) -> dict[Owner, Fields]:
    """Who owns what after `who` has written `new` in place of `old`, by anything but apply."""
    before, after = fields_of(old), fields_of(new)
    changed = frozenset(
        path for path in after if path not in before or _value(old, path) != _value(new, path)
    )
    kept = {
        owner: frozenset(p for p in held & after if owner == who or p not in changed)
        for owner, held in owners.items()
    }
    kept[who] = kept.get(who, frozenset()) | changed
    return {owner: held for owner, held in kept.items() if held}


def shown(path: Path) -> str:
    return "".join(f".{part}" if isinstance(part, str) else str(part) for part in path)


def _walk(value: Any, path: Path) -> list[Path]:
    if isinstance(value, dict) and value:
        return [p for key, child in value.items() for p in _walk(child, (*path, key))]
    if isinstance(value, list) and (items := _items(value, path)) is not None:
        found: list[Path] = []
        for place, child in items.items():
            found.append((*path, place))
            if isinstance(child, dict):
                found += _walk(child, (*path, place))
        return found
    return [path] if path else []


def _items(value: list[Any], path: Path) -> dict[Item, Any] | None:
    """The list's items by their place, or None when the list is one value."""
    name = path[-1] if path else ""
    if name in SETS and isinstance(name, str):
        return {Item((("", entry),)): entry for entry in value}
    keys = LIST_KEYS.get(name) if isinstance(name, str) else None
    if not keys or not all(isinstance(item, dict) and keys[0] in item for item in value):
        return None
    return {_place(item, keys): item for item in value}


def _place(item: Object, keys: tuple[str, ...]) -> Item:
    # A port without a protocol is TCP; the other keys have no default.
    return Item(tuple((key, item.get(key, "TCP" if key == "protocol" else None)) for key in keys))


def _merge(live: Any, config: Any, path: Path = ()) -> Any:
    if isinstance(live, dict) and isinstance(config, dict):
        merged = copy.deepcopy(live)
        for key, value in config.items():
            merged[key] = _merge(live.get(key), value, (*path, key))
        return merged
    if isinstance(live, list) and isinstance(config, list):
        here, there = _items(live, path), _items(config, path)
        if here is not None and there is not None:
            return [
                _merge(here.get(place), there[place], (*path, place))
                if place in there
                else copy.deepcopy(here[place])
                for place in dict.fromkeys((*here, *there))
            ]
    return copy.deepcopy(config)


_ABSENT = object()


def _value(obj: Any, path: Path) -> Any:
    """What stands there; of a list's item only that it is there, since its fields count."""
    for depth, part in enumerate(path):
        if isinstance(part, Item):
            items = (_items(obj, path[:depth]) or {}) if isinstance(obj, list) else {}
            obj = items.get(part, _ABSENT)
        else:
            obj = obj.get(part, _ABSENT) if isinstance(obj, dict) else _ABSENT
        if obj is _ABSENT:
            return _ABSENT
    return True if path and isinstance(path[-1], Item) else obj


def _remove(obj: Object, path: Path) -> None:
    """Take the field out, and the maps that are empty then."""
    holders: list[tuple[Any, str | Item]] = []
    here: Any = obj
    for depth, part in enumerate(path):
        holders.append((here, part))
        if isinstance(part, Item):
            items = (_items(here, path[:depth]) or {}) if isinstance(here, list) else {}
            here = items.get(part, _ABSENT)
        else:
            here = here.get(part, _ABSENT) if isinstance(here, dict) else _ABSENT
        if here is _ABSENT:
            return
    for depth in range(len(path) - 1, -1, -1):
        holder, part = holders[depth]
        if isinstance(part, Item):
            item = (_items(holder, path[:depth]) or {}).get(part, _ABSENT)
            holder[:] = [entry for entry in holder if entry is not item and entry != item]
        else:
            del holder[part]
        if holder or depth == 0:
            return


def _is_key(path: Path) -> bool:
    holder = path[-2] if len(path) > 1 else None
    return isinstance(holder, Item) and path[-1] in dict(holder.keys)


def _begins(path: Path, start: Path) -> bool:
    return len(path) > len(start) and path[: len(start)] == start
