"""Turns a pydantic model into a structural schema, the form that the Kubernetes API server wants.

Structural: every part says its type, nothing refers to elsewhere, and unknown fields are pruned
rather than forbidden (kubectl refuses them by itself). So references are put in place, `null` as
an alternative is dropped (the API server drops null fields before it judges), and a keyword that
is not known to mean the same on both sides is an error rather than ignored. Rules that need more
than one field are in `rules`.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

#: Mean the same in what the models say and to the API server.
_KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_TRANSLATED: Final = ("properties", "required", "items", "patternProperties")
_DROPPED: Final = ("title", "additionalProperties")
_LARGEST_INT32: Final = 2**31 - 1


class NotStructural(ValueError):
    """The model says something that a structural schema can't; the text names where."""


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of `model`. Raises `NotStructural`."""
    schema = model.model_json_schema(by_alias=True)
    return _node(schema, schema.get("$defs", {}), model.__name__)


def _node(raw: Schema, definitions: Schema, where: str) -> Schema:
    merged = _in_place(raw, definitions, where)
    unknown = set(merged) - {*_KEPT, *_TRANSLATED, *_DROPPED}
    if unknown:
        raise NotStructural(f"{where}: no translation for {', '.join(sorted(unknown))}")
    if "type" not in merged:
        raise NotStructural(f"{where}: has no single type")
    node: Schema = {key: merged[key] for key in _KEPT if key in merged}
    if "description" in node:
        node["description"] = _one_line_each(node["description"])
    if node["type"] == "integer":
        largest = node.get("maximum")
        node["format"] = "int32" if largest and largest <= _LARGEST_INT32 else "int64"
    _add_bound_rule(node, where)
    if "default" in node:
        node["default"] = _without_null(node["default"])
        if node["default"] is None:
            del node["default"]
    if "properties" in merged:
        node["properties"] = {
            name: _node(part, definitions, f"{where}.{name}")
            for name, part in merged["properties"].items()
        }
        if merged.get("required"):
            node["required"] = sorted(merged["required"])
    elif "patternProperties" in merged:
        # What keys may look like is a rule: a structural schema has no word for it.
        (values,) = merged["patternProperties"].values()
        node["additionalProperties"] = _node(values, definitions, f"{where}.*")
    elif node["type"] == "object":
        raise NotStructural(f"{where}: says nothing of its fields")
    if "items" in merged:
        node["items"] = _node(merged["items"], definitions, f"{where}[]")
    return node


def _add_bound_rule(node: Schema, where: str) -> None:
    """Say a fractional bound as a rule too.

    The API server cuts the bound to a whole number when the value is one, so that a minimum of 0.1
    lets 0 pass (tried on v1.35.4).
    """
    if not float(node.get("maximum", 0)).is_integer():
        raise NotStructural(f"{where}: a fractional maximum has no rule yet")
    least = node.get("minimum", 0)
    if not float(least).is_integer():
        node["x-kubernetes-validations"] = [
            {"rule": f"self >= {least}", "message": f"must be at least {least}"}
        ]


def _in_place(raw: Schema, definitions: Schema, where: str) -> Schema:
    """With what is referred to put in, and null as an alternative dropped."""
    node = {key: value for key, value in raw.items() if key not in ("$defs", "$ref", "anyOf")}
    if "$ref" in raw:
        target = definitions[raw["$ref"].removeprefix("#/$defs/")]
        return {**_in_place(target, definitions, where), **node}
    if "anyOf" in raw:
        others = [part for part in raw["anyOf"] if part != {"type": "null"}]
        if len(others) != 1:
            raise NotStructural(f"{where}: is one of several types")
        return {**_in_place(others[0], definitions, where), **node}
    return node


def _one_line_each(text: str) -> str:
    """Paragraphs on a line each, as `kubectl explain` breaks lines itself."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _without_null(default: Any) -> Any:
    if isinstance(default, dict):
        return {key: _without_null(value) for key, value in default.items() if value is not None}
    return default
