"""Typed views of what the cache holds: resources by their models, references followed.

The API server's schema has checked an object before, but a CRD may be older than this code, and
some rules only the models know; so reading one may end in a sentence instead of a resource.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from aristobot.contracts.active_strategies import NotRunnable, record_of
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.resources import (
    ActiveStrategy,
    Broker,
    Document,
    Strategy,
    parse_document,
)
from aristobot.core.errors import Misconfigured
from aristobot_operator.cache import Cache, is_deleting, key_of, name_of, namespace_of
from aristobot_operator.kube import Object
from aristobot_operator.reasons import Reason

_Model = TypeVar("_Model", Broker, Strategy, ActiveStrategy)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something can't be used: `reason` for a condition, `text` a sentence."""

    reason: str
    text: str


def parsed(cache: Cache, found: Object, model: type[_Model]) -> _Model | Problem:
    """The typed resource."""
    key = key_of(model.__name__, found)
    return cache.derived("parsed", key, (found,), lambda: _read(found, model))


def _read(found: Object, model: type[_Model]) -> _Model | Problem:
    metadata = {"name": name_of(found), "namespace": namespace_of(found)}
    try:
        document: Document = parse_document(
            {
                "apiVersion": found["apiVersion"],
                "kind": model.__name__,
                "metadata": metadata,
                "spec": found.get("spec", {}),
            }
        )
    except Misconfigured as error:
        return Problem(Reason.INVALID, str(error))
    assert isinstance(document, model)
    return document


def broker_of(cache: Cache, namespace: str, name: str) -> Broker | Problem | None:
    """The Broker that is named, None when there is none, or why it can't be read."""
    return _referred(cache, namespace, name, Broker, Reason.BROKER_NOT_READY)


def strategy_of(cache: Cache, namespace: str, name: str) -> Strategy | Problem | None:
    return _referred(cache, namespace, name, Strategy, Reason.INVALID)


def _referred(
    cache: Cache, namespace: str, name: str, model: type[_Model], reason: Reason
) -> _Model | Problem | None:
    found = cache.get(model.__name__, namespace, name)
    if found is None:
        return None
    document = parsed(cache, found, model)
    if not isinstance(document, Problem):
        return document
    kind = model.__name__
    text = f"{kind} {name} can't be read: {document.text}"
    return cache.derived(
        "unreadable", key_of(kind, found), (document,), lambda: Problem(reason, text)
    )


def code_of(cache: Cache, namespace: str, strategy: Strategy) -> str | Problem:
    """The strategy's Python code, from its spec or from the ConfigMap that it names."""
    if strategy.spec.code is not None:
        return strategy.spec.code
    reference = strategy.spec.code_config_map_ref
    assert reference is not None  # the model wants exactly one of the two
    found = cache.get("ConfigMap", namespace, reference.name)
    if found is None:
        return Problem(
            Reason.CONFIG_MAP_NOT_FOUND,
            f"there is no ConfigMap {reference.name}: apply it, or name another in "
            "spec.codeConfigMapRef",
        )
    code: str | None = (found.get("data") or {}).get(reference.key)
    if not code:
        return Problem(
            Reason.NO_CODE,
            f"ConfigMap {reference.name} has no entry {reference.key}: add it, or name another in "
            "spec.codeConfigMapRef.key",
        )
    return code


def record_or_problem(
    cache: Cache, found: Object, active: ActiveStrategy
) -> ActiveStrategyRecord | Problem:
    """What services are told of an active strategy. One that is being deleted decides no more."""
    namespace = namespace_of(found)
    strategy = strategy_of(cache, namespace, active.spec.strategy_ref.name)
    broker = broker_of(cache, namespace, active.spec.broker_ref.name)
    code = code_of(cache, namespace, strategy) if isinstance(strategy, Strategy) else None
    return cache.derived(
        "record",
        key_of("ActiveStrategy", found),
        (found, active, strategy, broker, code),
        lambda: _record(found, active, strategy, broker, code),
    )


def _record(
    found: Object,
    active: ActiveStrategy,
    strategy: Strategy | Problem | None,
    broker: Broker | Problem | None,
    code: str | Problem | None,
) -> ActiveStrategyRecord | Problem:
    for each in (strategy, code, broker):
        if isinstance(each, Problem):
            return each
    try:
        record = record_of(
            namespace_of(found),
            active,
            uid=str(found["metadata"]["uid"]),
            generation=int(found["metadata"]["generation"]),
            strategy=strategy,  # type: ignore[arg-type]  # none of them is a Problem
            broker=broker,  # type: ignore[arg-type]
            code=code,  # type: ignore[arg-type]
        )
    except NotRunnable as error:
        return Problem(error.reason, str(error))
    return record.model_copy(update={"active": False}) if is_deleting(found) else record
