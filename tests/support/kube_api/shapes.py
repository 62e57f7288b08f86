"""What a schema says of each value of an object: its type, and how its lists and maps are merged.

Built-in kinds take it from Kubernetes' own OpenAPI document (in the wheel `kubernetes-validate`),
custom ones from their CustomResourceDefinition. Pure but for reading that document once.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

Object = dict[str, Any]
_Schema = Mapping[str, Any]

_DOCUMENT = "kubernetes-json-schema/v1.35.0-local/_definitions.json"
_META = "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1."
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
#: Which forms of time Kubernetes reads: Go's RFC3339, and for MicroTime six digits after the point.
_TIMES = {
    f"{_META}Time": re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"),
    f"{_META}MicroTime": re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$"),
}


@functools.cache
def _definitions() -> Mapping[str, _Schema]:
    document = files("kubernetes_validate").joinpath(_DOCUMENT)
    return {
        f"#/$defs/{name}": schema
        for name, schema in json.loads(document.read_text(encoding="utf-8"))["$defs"].items()
    }


class Shape:
    """One value's. An empty schema says nothing: any type, maps by key, lists in one piece."""

    def __init__(self, schema: _Schema) -> None:
        reference = schema.get("$ref")
        self._schema = {**schema, **_definitions()[reference]} if reference else schema
        self._time = _TIMES.get(reference or "")
        self._known: dict[str, Shape] = {}

    @classmethod
    def of_built_in(cls, group: str, version: str, kind: str) -> Shape:
        """Raises KeyError for a kind that Kubernetes does not have."""
        wanted = {"group": group, "version": version, "kind": kind}
        for schema in _definitions().values():
            if wanted in schema.get("x-kubernetes-group-version-kind", ()):
                return cls(schema)
        raise KeyError(wanted)

    @classmethod
    def of_custom(cls, schema: _Schema) -> Shape:
        """`schema`: the definition's `openAPIV3Schema`, which leaves out what all kinds have."""
        common = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"$ref": f"{_META}ObjectMeta"},
        }
        return cls({**schema, "properties": {**schema.get("properties", {}), **common}})

    def key(self, name: str) -> Shape:
        schema = self._schema.get("properties", {}).get(name)
        if schema is None:
            return self._values
        if name not in self._known:
            self._known[name] = Shape(schema)
        return self._known[name]

    @functools.cached_property
    def _values(self) -> Shape:
        """Of a map's values whose keys are not declared one by one."""
        rest = self._schema.get("additionalProperties")
        return Shape(rest if isinstance(rest, dict) else {})

    @functools.cached_property
    def items(self) -> Shape:
        return Shape(self._schema.get("items", {}))

    @property
    def is_atomic(self) -> bool:
        """Whether a map is one value all the same."""
        return self._schema.get("x-kubernetes-map-type") == "atomic"

    @property
    def is_set(self) -> bool:
        return self._schema.get("x-kubernetes-list-type") == "set"

    @property
    def list_keys(self) -> tuple[str, ...]:
        """Of a list that is a map: what tells its items apart. Else empty."""
        return tuple(self._schema.get("x-kubernetes-list-map-keys", ()))

    def declares(self, name: str) -> bool:
        """Whether a map of this shape can have the key."""
        schema = self._schema
        if name in schema.get("properties", {}) or schema.get("additionalProperties"):
            return True
        return "properties" not in schema or bool(
            schema.get("x-kubernetes-preserve-unknown-fields")
        )

    def complaints(self, value: Any, path: str = "") -> Iterator[tuple[str, str]]:
        """What a typed decoder refuses: pairs of (path, why). Nulls are nothing, so they pass."""
        if value is None:
            return
        types = self._schema.get("type", ())
        names = [types] if isinstance(types, str) else list(types)
        wanted = tuple(kind for name in names for kind in _TYPES.get(name, ()))
        is_number_as_bool = isinstance(value, bool) and bool not in wanted
        if wanted and (not isinstance(value, wanted) or is_number_as_bool):
            yield path, f"expected {names[0]}, got {value!r}"
        elif isinstance(value, dict):
            for name, child in value.items():
                yield from self.key(name).complaints(child, f"{path}.{name}")
        elif isinstance(value, list):
            for place, child in enumerate(value):
                yield from self.items.complaints(child, f"{path}[{place}]")
        elif self._time and not self._time.match(value):
            yield path, f"{value!r} is not a time in the form that is read"

    def undeclared(self, value: Any, path: str = "") -> Iterator[str]:
        """Paths of fields that the schema does not have."""
        if isinstance(value, dict):
            for name, child in value.items():
                if self.declares(name):
                    yield from self.key(name).undeclared(child, f"{path}.{name}")
                else:
                    yield f"{path}.{name}"
        elif isinstance(value, list):
            for place, child in enumerate(value):
                yield from self.items.undeclared(child, f"{path}[{place}]")

    def duplicates(self, value: Any, path: str = "") -> Iterator[str]:
        """Paths of lists that are maps in which two items have the same keys."""
        if isinstance(value, dict):
            for name, child in value.items():
                yield from self.key(name).duplicates(child, f"{path}.{name}")
        elif isinstance(value, list):
            if keys := self.list_keys:
                places = [tuple(item.get(key) for key in keys) for item in value]
                if len(set(places)) < len(places):
                    yield path
            for place, child in enumerate(value):
                yield from self.items.duplicates(child, f"{path}[{place}]")

    def missing(self, value: Any, path: str = "") -> Iterator[str]:
        """Paths of required fields that are not there."""
        if isinstance(value, dict):
            for name in self._schema.get("required", ()):
                if name not in value:
                    yield f"{path}.{name}"
            for name, child in value.items():
                yield from self.key(name).missing(child, f"{path}.{name}")
        elif isinstance(value, list):
            for place, child in enumerate(value):
                yield from self.items.missing(child, f"{path}[{place}]")

    def prune(self, value: Any) -> None:
        """Drop undeclared fields and nulls, in place."""
        if isinstance(value, dict):
            for name in list(value):
                if value[name] is None or not self.declares(name):
                    del value[name]
                else:
                    self.key(name).prune(value[name])
        elif isinstance(value, list):
            for child in value:
                self.items.prune(child)

    def complete(self, value: Any) -> None:
        """Fill in the schema's defaults, in place."""
        if isinstance(value, dict):
            for name, schema in self._schema.get("properties", {}).items():
                if "default" in schema and name not in value:
                    value[name] = json.loads(json.dumps(schema["default"]))
            for name, child in value.items():
                self.key(name).complete(child)
        elif isinstance(value, list):
            for child in value:
                self.items.complete(child)
