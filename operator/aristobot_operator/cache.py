"""What the watches have shown: the one place that decisions read the cluster from.

Filled once by listing, then kept by events; `mismatches` compares it with a fresh list, by which a
watch that has fallen silent is noticed. Of Secrets that aren't ours to read, only the digests of
their entries are kept. Deliberately not here: asking the API server, and deciding.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    BROKER_LABEL,
    MANAGED_BY_LABEL,
    OPERATOR,
)
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


@dataclass(frozen=True, slots=True)
class Difference:
    """An object of which the watch hasn't shown what the API server has."""

    key: Key
    seen: str | None
    there: str | None


class Cache:
    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Object]] = {kind: {} for kind in WATCHED}

    def put(self, kind: str, found: Object) -> Key:
        """Take an object as it is now; returns its key."""
        key = key_of(kind, found)
        before = self._objects[kind].get(key)
        if is_followed(kind, found) and not _is_older(found, before):
            self._objects[kind][key] = digested(found) if kind == "Secret" else found
        return key

    def remove(self, kind: str, found: Object) -> Key:
        key = key_of(kind, found)
        self._objects[kind].pop(key, None)
        return key

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects[kind].get(Key(kind, namespace, name))

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        """All of a kind, by namespace and name."""
        found = self._objects[kind]
        return [found[k] for k in sorted(found) if namespace is None or k.namespace == namespace]

    def labelled(self, kind: str, namespace: str, label: str, value: str) -> list[Object]:
        return [each for each in self.all(kind, namespace) if labels_of(each).get(label) == value]

    def resources(self) -> list[Key]:
        """Every resource that has a status of ours."""
        return [key for kind in RESOURCES for key in sorted(self._objects[kind])]

    def concerned(self, kind: str, found: Object) -> Iterator[Key]:
        """The resources that a change of `found` may matter to."""
        namespace, name = namespace_of(found), name_of(found)
        match kind:
            case "Broker":
                yield Key(kind, namespace, name)
                yield from self._that_refer(namespace, "brokerRef", name)
            case "Strategy":
                yield Key(kind, namespace, name)
                yield from self._that_refer(namespace, "strategyRef", name)
            case "ActiveStrategy":
                yield Key(kind, namespace, name)
                # A broker is kept while a strategy that has to wind down needs it.
                yield Key("Broker", namespace, found.get("spec", {})["brokerRef"]["name"])
            case "ConfigMap":
                for strategy in self.all("Strategy", namespace):
                    reference = strategy.get("spec", {}).get("codeConfigMapRef") or {}
                    if reference.get("name") == name:
                        yield from self.concerned("Strategy", strategy)
            case "Secret":
                # Few brokers and cheap to look at, so no index of who names which Secret.
                yield from (key_of("Broker", each) for each in self.all("Broker", namespace))
                yield from _by_label(found, namespace)
            case _:
                yield from _by_label(found, namespace)

    def mismatches(self, kind: str, namespace: str, listed: Iterable[Object]) -> list[Difference]:
        """Where a list of the kind, taken just now, differs from what the watch has shown."""
        there = {key_of(kind, each): each for each in listed if is_followed(kind, each)}
        seen = {k: v for k, v in self._objects[kind].items() if k.namespace == namespace}
        return [
            Difference(key, _version(seen.get(key)), _version(there.get(key)))
            for key in sorted(there.keys() | seen.keys())
            if _version(seen.get(key)) != _version(there.get(key))
        ]

    def _that_refer(self, namespace: str, reference: str, name: str) -> Iterator[Key]:
        for each in self.all("ActiveStrategy", namespace):
            if each.get("spec", {}).get(reference, {}).get("name") == name:
                yield key_of("ActiveStrategy", each)


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


def is_deleting(found: Object) -> bool:
    return "deletionTimestamp" in found["metadata"]


def _by_label(found: Object, namespace: str) -> Iterator[Key]:
    labels = labels_of(found)
    if broker := labels.get(BROKER_LABEL):
        yield Key("Broker", namespace, broker)
    if strategy := labels.get(ACTIVE_STRATEGY_LABEL):
        yield Key("ActiveStrategy", namespace, strategy)


def _version(found: Any) -> str | None:
    return None if found is None else str(found["metadata"].get("resourceVersion"))


def _is_older(found: Object, before: Object | None) -> bool:
    """Versions of one object can be compared as numbers (KEP-5504); ours may be the newer one.

    What an API call of ours returned is put here at once, and the watch shows it a moment later.
    """
    if before is None or before["metadata"].get("uid") != found["metadata"].get("uid"):
        return False
    new, old = _version(found), _version(before)
    return bool(new and old and new.isdigit() and old.isdigit() and int(new) < int(old))
