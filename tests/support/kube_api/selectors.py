"""Label and field selectors, as they stand in a list's or a watch's query.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api. Fields: the two that
every kind has, and those that a custom resource's `selectableFields` name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from tests.support.kube_api.failures import Failure

Object = dict[str, Any]
Matches = Callable[[Object], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s=!]*)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s=!()]+)$")
_COMMA_OUTSIDE = re.compile(r",(?![^(]*\))")


def labels_match(selector: str) -> Matches:
    """Raises Failure (400) for what can't be read."""
    tests = [_label_test(part.strip()) for part in _COMMA_OUTSIDE.split(selector) if part.strip()]

    def matches(obj: Object) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return matches


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(part):
        key, values = found["key"], {v.strip() for v in found["values"].split(",")}
        if found["operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(part):
        key, wanted = found["key"], not found["not"]
        return lambda labels: (key in labels) is wanted
    raise Failure(400, f"unable to parse requirement: {part!r}")


def fields_match(selector: str, known: Collection[str]) -> Matches:
    """`known`: dotted paths that may be asked for. Raises Failure (400) for others."""
    tests: list[tuple[tuple[str, ...], str, bool]] = []
    for part in filter(None, selector.split(",")):
        found = _EQUAL.match(part.strip())
        if found is None or found["key"] not in known:
            raise Failure(400, f"field label not supported: {part}")
        path = tuple(found["key"].split("."))
        tests.append((path, found["value"], found["operator"] != "!="))

    return lambda obj: all((_at(obj, path) == value) is wanted for path, value, wanted in tests)


def _at(obj: Object, path: tuple[str, ...]) -> str:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)
