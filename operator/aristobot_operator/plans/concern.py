"""Whom a change matters to: the resources to look at again, and the directory.

Most of what watches show is our own doing come back, or a status that nobody decides by. Looking at
everything each time would be right too, and with hundreds of resources too slow. What is missed
here by a mistake is found when everything is looked at again (`health.RESYNC_SECONDS`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    BROKER_LABEL,
    MANAGED_BY_LABEL,
    OPERATOR,
    WIND_DOWN_FINALIZER,
)
from aristobot.contracts.resources import OnDelete
from aristobot_operator.cache import (
    RESOURCES,
    Cache,
    Change,
    finalizers_of,
    is_deleting,
    key_of,
    labels_of,
)
from aristobot_operator.conditions import condition_of
from aristobot_operator.kube import Object
from aristobot_operator.plans.directory import TOKEN_ENTRY
from aristobot_operator.reasons import Condition
from aristobot_operator.work_queue import Key


def concerned(cache: Cache, change: Change) -> set[Key]:
    """The resources to look at because of a change. A status of ours is no news to its own."""
    return set(_concerned(cache, change))


def changes_directory(change: Change) -> bool:
    """Whether what services are told may be something else now."""
    kind = change.key.kind
    if kind in RESOURCES:
        return _is_wanted_otherwise(change)
    if kind == "ConfigMap":
        return _differ(change, lambda found: found.get("data"))
    return kind == "Secret" and _token(change.before) != _token(change.after)


def _concerned(cache: Cache, change: Change) -> Iterator[Key]:
    key = change.key
    namespace = key.namespace
    match key.kind:
        case "Broker":
            if _is_wanted_otherwise(change):
                # The others too: they may have waited for its number.
                yield from _keys(cache, "Broker", namespace)
                yield key  # also when it is gone
            if _is_wanted_otherwise(change) or _differ(change, _readiness):
                yield from _that_refer(cache, namespace, "brokerRef", key.name)
        case "Strategy":
            if _is_wanted_otherwise(change):
                yield key
                yield from _that_refer(cache, namespace, "strategyRef", key.name)
        case "ActiveStrategy":
            if _is_wanted_otherwise(change):
                yield key
                # A broker is kept while a strategy that has to wind down needs it.
                if _differ(change, _needed_broker):
                    needed = {_needed_broker(change.before), _needed_broker(change.after)}
                    yield from (Key("Broker", namespace, name) for name in needed if name)
        case "ConfigMap":
            if _differ(change, lambda found: found.get("data")):
                for strategy in cache.all("Strategy", namespace):
                    reference = strategy.get("spec", {}).get("codeConfigMapRef") or {}
                    if reference.get("name") == key.name:
                        found = key_of("Strategy", strategy)
                        yield found
                        yield from _that_refer(cache, namespace, "strategyRef", found.name)
        case "Secret":
            if _differ(change, lambda found: (found["digests"], _facts(found))):
                ours = set(_by_label(change))
                yield from ours
                if not ours:
                    # One that a broker names, or the database's, which may be elsewhere. There are
                    # few brokers, and they are cheap to look at.
                    yield from _keys(cache, "Broker")
        case _:
            yield from _by_label(change)


def winds_down(found: Object) -> bool:
    """Whether an active strategy needs its broker's gateway when it is deleted."""
    return WIND_DOWN_FINALIZER in finalizers_of(found) or (
        wants_wind_down(found) and not is_deleting(found)
    )


def wants_wind_down(found: Object) -> bool:
    """Whether there is something to do when it is deleted.

    Read as it stands: a spec of which something else can't be read still says so. In doubt, yes.
    """
    return str(found["spec"].get("onDelete") or OnDelete.DETACH) != OnDelete.DETACH


def _token(secret: Object | None) -> str | None:
    """The digest of a webhook token; most Secrets hold none."""
    digest: str | None = secret["digests"].get(TOKEN_ENTRY) if secret is not None else None
    return digest


def _needed_broker(found: Object | None) -> str | None:
    if found is None or not winds_down(found):
        return None
    return str(found["spec"]["brokerRef"]["name"])


def _that_refer(cache: Cache, namespace: str, reference: str, name: str) -> Iterator[Key]:
    for each in cache.all("ActiveStrategy", namespace):
        if each.get("spec", {}).get(reference, {}).get("name") == name:
            yield key_of("ActiveStrategy", each)


def _keys(cache: Cache, kind: str, namespace: str | None = None) -> Iterator[Key]:
    return (key_of(kind, each) for each in cache.all(kind, namespace))


def _by_label(change: Change) -> Iterator[Key]:
    namespace = change.key.namespace
    for found in (change.before, change.after):
        labels = labels_of(found) if found is not None else {}
        if labels.get(MANAGED_BY_LABEL) != OPERATOR:
            continue
        if broker := labels.get(BROKER_LABEL):
            yield Key("Broker", namespace, broker)
        if strategy := labels.get(ACTIVE_STRATEGY_LABEL):
            yield Key("ActiveStrategy", namespace, strategy)


def _is_wanted_otherwise(change: Change) -> bool:
    """Whether anything differs but the status; `generation` stands for the spec."""
    return _differ(change, _facts)


def _facts(found: Object) -> tuple[Any, ...]:
    metadata = found["metadata"]
    return tuple(
        metadata.get(name)
        for name in (
            "uid",
            "generation",
            "deletionTimestamp",
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
        )
    )


def _readiness(found: Object) -> tuple[Any, ...]:
    summary = condition_of(found.get("status") or {}, Condition.READY) or {}
    return summary.get("status"), summary.get("message")


def _differ(change: Change, view: Any) -> bool:
    """Whether `view` of the object is another than it was. It being there or not is one, too."""
    if change.before is None or change.after is None:
        return True
    return bool(view(change.before) != view(change.after))
