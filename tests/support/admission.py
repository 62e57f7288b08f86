"""Judges a resource as the Kubernetes API server does: defaults, the schema, the rules in CEL.

Only what our schemas use; tests/cluster/test_crds.py compares it with a real one. Steps and their
order: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
Unknown fields are refused, which the API server does when asked to, as kubectl does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from functools import cache
from typing import Any

import celpy

from aristobot.contracts.crds.definitions import definition

Schema = Mapping[str, Any]

#: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/strfmt/time.go
_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[tT]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([zZ]|[+-]\d\d:\d\d)"
)


@cache
def _schema(kind: str) -> Schema:
    schema: Schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def admit(document: Any, before: Any = None) -> tuple[Any, list[str]]:
    """What would be stored, and why it isn't; `before`: what stands there, as `admit` gave it."""
    schema = _schema(document["kind"])
    stored = _defaulted(deepcopy(document), schema)
    problems = list(_schema_problems(stored, schema, ""))
    if not problems:  # rules are not looked at before, since they may rely on the schema
        problems = list(_rule_problems(stored, before, schema, ""))
    return stored, problems


def _defaulted(value: Any, schema: Schema) -> Any:
    """Nulls dropped, then defaults put in, from the outside inwards."""
    if isinstance(value, dict) and schema["type"] == "object":
        for key in [k for k, v in value.items() if v is None]:
            del value[key]
        for name, part in schema.get("properties", {}).items():
            if name not in value and "default" in part:
                value[name] = deepcopy(part["default"])
        for name, inner in value.items():
            if (part := _part(schema, name)) is not None:
                value[name] = _defaulted(inner, part)
    return value


def _part(schema: Schema, name: str) -> Schema | None:
    if "properties" in schema:
        part: Schema | None = schema["properties"].get(name)
        return part
    return schema.get("additionalProperties")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        case "number":
            return isinstance(value, int | float)
    return False


def _schema_problems(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not _is(value, schema["type"]):
        yield f"{path}: must be of type {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: supported values: {schema['enum']}"
    match schema["type"]:
        case "object":
            yield from _object_problems(value, schema, path)
        case "string":
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                yield f"{path}: too long or too short"
            # Go's `$` is the end of the text alone; Python's also stands before a last newline.
            if not re.search(schema.get("pattern", "").replace("$", r"\Z"), value):
                yield f"{path}: should match {schema['pattern']}"
            if schema.get("format") == "date-time" and not _is_date_time(value):
                yield f"{path}: must be of type date-time"
        case "integer" | "number":
            least, most = schema.get("minimum", value), schema.get("maximum", value)
            if isinstance(value, int):  # then a fractional bound is cut to a whole number
                least, most = int(least), int(most)
            if not least <= value <= most:
                yield f"{path}: out of bounds"
            elif schema.get("exclusiveMinimum") and value == schema["minimum"]:
                yield f"{path}: should be greater than {schema['minimum']}"


def _object_problems(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    if path == ".metadata":
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: required value"
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: too many"
    for name, inner in value.items():
        part = _part(schema, name)
        if part is None:
            yield f"{path}.{name}: unknown field"
        else:
            yield from _schema_problems(inner, part, f"{path}.{name}")


def _is_date_time(text: str) -> bool:
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return False
    try:
        datetime.fromisoformat(found[1])
    except ValueError:
        return False
    return True


@cache
def _program(rule: str) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def _rule_problems(value: Any, before: Any, schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and before is None:
            continue
        variables = {"self": _cel(value, schema)}
        if before is not None:
            variables["oldSelf"] = _cel(before, schema)
        if not _program(rule["rule"]).evaluate(variables):
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    if isinstance(value, dict):
        for name, inner in value.items():
            part = _part(schema, name)
            if part is not None and path != ".metadata":
                old = before.get(name) if isinstance(before, dict) else None
                yield from _rule_problems(inner, old, part, f"{path}.{name}")


def _cel(value: Any, schema: Schema) -> Any:
    """The value as CEL sees it: a string of format date-time is a timestamp."""
    if schema.get("format") == "date-time":
        return celpy.celtypes.TimestampType(value)
    if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
        return celpy.celtypes.MapType(
            {
                celpy.celtypes.StringType(name): _cel(inner, part)
                for name, inner in value.items()
                if (part := _part(schema, name)) is not None
            }
        )
    if schema.get("type") == "number":
        return celpy.celtypes.DoubleType(value)
    return celpy.json_to_cel(value)
