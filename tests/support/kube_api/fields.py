"""Who owns which field, and what server-side apply makes of it. Pure.

A field is a path: keys of maps, and for lists that the schema says are maps (containers by name) or
sets, the place of the item. Other lists are one value. An owner is a manager, its operation and the
subresource, as in `metadata.managedFields` (which this double keeps but doesn't show).
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.support.kube_api.shapes import Shape

Object = dict[str, Any]


class Item(NamedTuple):
    """The place of a list's item: the values of its keys."""

    keys: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "[" + ",".join(f'{name}="{value}"' for name, value in self.keys) + "]"


Path = tuple["str | Item", ...]
Fields = frozenset[Path]

#: What stands for a key that an item leaves out. The published schema doesn't say it.
_KEY_DEFAULTS: Mapping[str, str] = {"protocol": "TCP"}
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

    def __str__(self) -> str:
        part = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{part}'


Owners = Mapping[Owner, Fields]


@dataclass(frozen=True)
class Conflict(Exception):
    """Fields that others own with another value: pairs of (owner, path), as they are shown."""

    fields: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        if len(self.fields) == 1:
            return "1 conflict: conflict with {}: {}".format(*self.fields[0])
        by: dict[str, list[str]] = {}
        for owner, path in self.fields:
            by.setdefault(owner, []).append(path)
        told = [f"conflicts with {owner}:\n- " + "\n- ".join(by[owner]) for owner in by]
        return f"{len(self.fields)} conflicts: " + "\n".join(told)


def fields_of(obj: Object, shape: Shape) -> Fields:
    """All leaves, and the places of list items."""
    return frozenset(path for path in _walk(obj, shape, ()) if path and path[:2] not in _NOT_OWNED)


def apply(
    live: Object, owners: Owners, config: Object, who: Owner, shape: Shape, *, force: bool
) -> tuple[Object, dict[Owner, Fields]]:
    """The object after `who` has applied `config`, and who owns what then. Raises Conflict."""
    wanted = fields_of(config, shape)
    others = {owner: held for owner, held in owners.items() if owner != who}
    in_the_way = {
        path: owner
        for owner, held in others.items()
        for path in wanted & held
        if _value(live, path, shape) != _value(config, path, shape)
    }
    if in_the_way and not force:
        found = sorted((str(owner), shown(path)) for path, owner in in_the_way.items())
        raise Conflict(tuple(found))
    others = {owner: held - in_the_way.keys() for owner, held in others.items()}
    merged = _merge(live, config, shape)
    dropped = owners.get(who, frozenset()) - wanted
    # The deepest first, so that a map that gets empty by it can go too. An item's keys stay for as
    # long as the item does.
    for path in sorted(dropped.difference(*others.values()), key=len, reverse=True):
        if not _is_key(path) and not any(
            _begins(kept, path) for held in (wanted, *others.values()) for kept in held
        ):
            _remove(merged, path, shape)
    return merged, {owner: held for owner, held in {**others, who: wanted}.items() if held}


def update(
    old: Object, new: Object, owners: Owners, who: Owner, shape: Shape
) -> dict[Owner, Fields]:
    """Who owns what after `who` has written `new` in place of `old`, by anything but apply."""
    before, after = fields_of(old, shape), fields_of(new, shape)
    changed = frozenset(
        path
        for path in after
        if path not in before or _value(old, path, shape) != _value(new, path, shape)
    )
    kept = {
        owner: frozenset(p for p in held & after if owner == who or p not in changed)
        for owner, held in owners.items()
    }
    kept[who] = kept.get(who, frozenset()) | changed
    return {owner: held for owner, held in kept.items() if held}


def shown(path: Path) -> str:
    return "".join(f".{part}" if isinstance(part, str) else str(part) for part in path)


def _walk(value: Any, shape: Shape, path: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value and not shape.is_atomic:
        for key, child in value.items():
            yield from _walk(child, shape.key(key), (*path, key))
    elif isinstance(value, list) and (items := _items(value, shape)) is not None:
        for place, child in items.items():
            yield (*path, place)
            if isinstance(child, dict):
                yield from _walk(child, shape.items, (*path, place))
    else:
        yield path


def _items(value: list[Any], shape: Shape) -> dict[Item, Any] | None:
    """The list's items by their place, or None when the list is one value."""
    if shape.is_set:
        return {Item((("", entry),)): entry for entry in value}
    if not shape.list_keys:
        return None
    return {
        Item(tuple((k, item.get(k, _KEY_DEFAULTS.get(k))) for k in shape.list_keys)): item
        for item in value
    }


def _merge(live: Any, config: Any, shape: Shape) -> Any:
    if isinstance(live, dict) and isinstance(config, dict) and not shape.is_atomic:
        merged = copy.deepcopy(live)
        for key, value in config.items():
            merged[key] = _merge(live.get(key), value, shape.key(key))
        return merged
    if isinstance(live, list) and isinstance(config, list):
        here, there = _items(live, shape), _items(config, shape)
        if here is not None and there is not None:
            return [
                _merge(here.get(place), there[place], shape.items)
                if place in there
                else copy.deepcopy(here[place])
                for place in dict.fromkeys((*here, *there))
            ]
    return copy.deepcopy(config)


_ABSENT = object()


def _child(value: Any, part: str | Item, shape: Shape) -> tuple[Any, Shape]:
    if isinstance(part, Item):
        items = (_items(value, shape) or {}) if isinstance(value, list) else {}
        return items.get(part, _ABSENT), shape.items
    return (value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT), shape.key(part)


def _value(obj: Any, path: Path, shape: Shape) -> Any:
    """What stands there; of a list's item only that it is there, since its fields count."""
    for part in path:
        obj, shape = _child(obj, part, shape)
        if obj is _ABSENT:
            return _ABSENT
    return True if path and isinstance(path[-1], Item) else obj


def _remove(obj: Object, path: Path, shape: Shape) -> None:
    """Take the field out, and the maps and lists that are empty then."""
    holders: list[tuple[Any, Shape, str | Item]] = []
    here: Any = obj
    for part in path:
        holders.append((here, shape, part))
        here, shape = _child(here, part, shape)
        if here is _ABSENT:
            return
    for holder, holders_shape, part in reversed(holders):
        if isinstance(part, Item):
            item, _ = _child(holder, part, holders_shape)
            holder[:] = [entry for entry in holder if entry != item]
        else:
            del holder[part]
        if holder:
            return


def _is_key(path: Path) -> bool:
    holder = path[-2] if len(path) > 1 else None
    return isinstance(holder, Item) and path[-1] in dict(holder.keys)


def _begins(path: Path, start: Path) -> bool:
    return len(path) > len(start) and path[: len(start)] == start
