"""What the watches have shown: the one place that decisions read the cluster from.

Filled once by listing, then kept by events and by the answers to our own writes, whichever comes
first; who wants to know is told once of each change. `mismatches` compares it with a fresh list, by
which a watch that has fallen silent is noticed. What nobody decides by is not kept: the values of
Secrets (only their digests), what pods are made of, and who manages which field. Deliberately not
here: asking the API server, deciding, and whom a change matters to (`plans.concern`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aristobot.contracts.kubernetes import MANAGED_BY_LABEL, OPERATOR
from aristobot_operator.kube import Object
from aristobot_operator.work_queue import Key

#: The kinds that are followed, in the order in which they are listed at start.
WATCHED: Final = (
    "Secret",
    "ConfigMap",
    "Broker",
    "Strategy",
    "Deployment",
    "Pod",
    "ActiveStrategy",
)
#: Those that have a status of ours.
RESOURCES: Final = ("Broker", "Strategy", "ActiveStrategy")
#: Of these only what carries our label is ours to look at.
_CHILDREN: Final = ("Deployment", "Pod")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Difference:
    """An object of which the watch hasn't shown what the API server has."""

    key: Key
    seen: str | None
    there: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after; None when it wasn't there yet, or isn't any more."""

    key: Key
    before: Object | None
    after: Object | None


class Cache:
    """`changed` is told of each change once, whether a watch or an answer showed it first."""

    def __init__(self, changed: Callable[[Change], None] = lambda _: None) -> None:
        self._changed = changed
        self._objects: dict[str, dict[Key, Object]] = {kind: {} for kind in WATCHED}
        self._derived: dict[Key, dict[str, tuple[tuple[object, ...], Any]]] = {}

    def put(self, kind: str, found: Object) -> None:
        """Take an object as it is now. One that isn't newer than what is known changes nothing."""
        key = key_of(kind, found)
        before = self._objects[kind].get(key)
        if before is not None and _is_known(found, before):
            return
        if is_followed(kind, found):
            after = self._objects[kind][key] = _kept(kind, found)
            self._changed(Change(key, before, after))
        elif before is not None:  # somebody took our label off
            self._forget(key, before)

    def remove(self, kind: str, found: Object) -> None:
        """Forget an object that is gone, but not another one of its name that came after it."""
        key = key_of(kind, found)
        before = self._objects[kind].get(key)
        if before is not None and before["metadata"].get("uid") == found["metadata"].get("uid"):
            self._forget(key, before)

    def _forget(self, key: Key, before: Object) -> None:
        del self._objects[key.kind][key]
        self._derived.pop(key, None)
        self._changed(Change(key, before, None))

    def forget(self, gone: Difference) -> None:
        """Remove what isn't there any more, unless a watch has shown another of that name since."""
        found = self._objects[gone.key.kind].get(gone.key)
        if found is not None and _version(found) == gone.seen:
            self._forget(gone.key, found)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects[kind].get(Key(kind, namespace, name))

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All of a kind, by namespace and name."""
        found = self._objects[kind]
        keys = (key for key in found if namespace is None or key.namespace == namespace)
        return [found[key] for key in sorted(keys)]

    def labelled(self, kind: str, namespace: str, label: str, value: str) -> list[Object]:
        return [
            each
            for key, each in self._objects[kind].items()
            if key.namespace == namespace and labels_of(each).get(label) == value
        ]

    def resources(self) -> list[Key]:
        """Every resource that has a status of ours."""
        return [key for kind in RESOURCES for key in sorted(self._objects[kind])]

    def derived(
        self, what: str, key: Key, inputs: tuple[object, ...], make: Callable[[], _Made]
    ) -> _Made:
        """`make()`, made once for the same `inputs`, the very same objects.

        Objects here are never changed, only replaced, so what `make` reads of them stays true. It
        must read nothing else.
        """
        known = self._derived.get(key, {}).get(what)
        if known is not None and list(map(id, known[0])) == list(map(id, inputs)):
            made: _Made = known[1]
            return made
        made = make()
        if key in self._objects[key.kind]:  # forgotten with it
            self._derived.setdefault(key, {})[what] = (inputs, made)
        return made

    def mismatches(self, kind: str, namespace: str, listed: Iterable[Object]) -> list[Difference]:
        """Where a list of the kind, taken just now, differs from what the watch has shown."""
        there = {key_of(kind, each): each for each in listed if is_followed(kind, each)}
        seen = {k: v for k, v in self._objects[kind].items() if k.namespace == namespace}
        return [
            Difference(key, _version(seen.get(key)), _version(there.get(key)))
            for key in sorted(there.keys() | seen.keys())
            if _version(seen.get(key)) != _version(there.get(key))
        ]


def _kept(kind: str, found: Object) -> Object:
    """What is decided by; with hundreds of resources the rest is most of the operator's memory."""
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    kept = {**found, "metadata": metadata}
    match kind:
        case "Secret":
            return digested(kept)
        case "Deployment":  # its digest stands for the rest of the spec
            kept["spec"] = {"replicas": found["spec"].get("replicas")}
        case "Pod":
            kept.pop("spec", None)
    return kept


def digested(secret: Object) -> Object:
    """A Secret without its values: `data` holds each entry's SHA-256 in their place."""
    if "digests" in secret:
        return secret
    kept = {name: value for name, value in secret.items() if name not in ("data", "stringData")}
    data: dict[str, str] = secret.get("data") or {}
    kept["digests"] = {
        name: hashlib.sha256(base64.b64decode(value)).hexdigest() for name, value in data.items()
    }
    return kept


def is_followed(kind: str, found: Object) -> bool:
    return kind not in _CHILDREN or labels_of(found).get(MANAGED_BY_LABEL) == OPERATOR


def key_of(kind: str, found: Object) -> Key:
    return Key(kind, namespace_of(found), name_of(found))


def name_of(found: Object) -> str:
    return str(found["metadata"]["name"])


def namespace_of(found: Object) -> str:
    return str(found["metadata"]["namespace"])


def labels_of(found: Object) -> dict[str, str]:
    labels: dict[str, str] = found["metadata"].get("labels") or {}
    return labels


def annotations_of(found: Object) -> dict[str, str]:
    annotations: dict[str, str] = found["metadata"].get("annotations") or {}
    return annotations


def finalizers_of(found: Object) -> list[str]:
    return list(found["metadata"].get("finalizers") or ())


def owners_of(found: Object) -> set[str]:
    """The uids of what it goes with."""
    return {each["uid"] for each in found["metadata"].get("ownerReferences") or ()}


def generation_of(found: Object) -> int:
    return int(found["metadata"]["generation"])


def is_deleting(found: Object) -> bool:
    return "deletionTimestamp" in found["metadata"]


def _version(found: Any) -> str | None:
    return None if found is None else str(found["metadata"].get("resourceVersion"))


def _is_known(found: Object, before: Object) -> bool:
    """Whether `found` is what we know already, or older.

    Versions of one object can be compared as numbers (KEP-5504); ours may be the newer one: what an
    API call of ours returned is put here at once, and the watch shows it a moment later.
    """
    if before["metadata"].get("uid") != found["metadata"].get("uid"):
        return False
    new, old = _version(found), _version(before)
    if new is None or old is None:
        return False
    return new == old or (new.isdigit() and old.isdigit() and int(new) < int(old))
