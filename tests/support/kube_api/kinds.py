"""The kinds that the double serves: its discovery documents, and what their schemas demand.

Built-in kinds are those that Aristobot's operator, command line and charts touch. Custom kinds come
from CustomResourceDefinitions: their defaults are applied, and what the OpenAPI part of the schema
refuses is refused. CEL rules (`x-kubernetes-validations`) are not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jsonschema

from tests.support.kube_api.failures import Failure, invalid
from tests.support.kube_api.shapes import Shape

Object = dict[str, Any]
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Kind:
    """One resource of one version. `status`: it has the subresource, so that `/status` is apart."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    status: bool = False
    #: Whether `metadata.generation` counts changes of what is not metadata or status.
    generation: bool = False
    #: Whether a PUT without `metadata.resourceVersion` is taken.
    unconditional_update: bool = True
    #: Whether a PUT of what is not there creates it.
    create_on_update: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()
    #: `openAPIV3Schema` of a custom kind; None for a built-in one.
    schema: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As in messages: `brokers.trading.aristobot.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def known_fields(self) -> frozenset[str]:
        """What a field selector may name."""
        return frozenset({"metadata.name", "metadata.namespace", *self.selectable})

    def discovered(self) -> Iterator[Object]:
        """Its entries in the APIResourceList."""
        common = {"namespaced": self.namespaced, "kind": self.kind}
        yield {
            **common,
            "name": self.plural,
            "singularName": self.kind.lower(),
            "verbs": _VERBS,
            "shortNames": list(self.short_names),
            "categories": list(self.categories),
        }
        if self.status:
            name, verbs = f"{self.plural}/status", ["get", "patch", "update"]
            yield {**common, "name": name, "singularName": "", "verbs": verbs}

    @property
    def qualified(self) -> str:
        """As in messages about what is invalid: `Deployment.apps`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @cached_property
    def shape(self) -> Shape:
        if self.schema is None:
            return Shape.of_built_in(self.group, self.version, self.kind)
        return Shape.of_custom(self.schema)

    @cached_property
    def _validator(self) -> jsonschema.Draft7Validator:
        return jsonschema.Draft7Validator(_as_json_schema(self.schema))

    def decode(self, obj: Object, *, code: int) -> None:
        """Read it as this kind, in place: what is not declared falls away.

        Raises Failure (`code`) for values of another type, but not in a custom kind's own fields.
        """
        # A built-in kind's decoder knows what it expects, so there they can be left out.
        expected = ("", "") if self.schema is not None else (self.api_version, self.kind)
        given = (obj.get("apiVersion", expected[0]), obj.get("kind", expected[1]))
        if given != (self.api_version, self.kind):
            text = f"{given[1]} of {given[0]} cannot be handled as a {self.kind}"
            raise Failure(400, text)
        # A custom kind's own fields are left to `admit`; its metadata are as everywhere.
        checked = obj if self.schema is None else {"metadata": obj.get("metadata")}
        for path, why in self.shape.complaints(checked):
            text = f"cannot be handled as a {self.kind}: {path}: {why}"
            raise Failure(code, f'{self.kind} in version "{self.version}" {text}')
        self.shape.prune(obj)

    def decode_applied(self, config: Object) -> None:
        """Read what is applied, in place; raises Failure (500), as the real server does, for
        fields that are not declared and values of another type."""
        complaints = [f"{path}: {why}" for path, why in self.shape.complaints(config)]
        complaints += [
            f"{path}: field not declared in schema" for path in self.shape.undeclared(config)
        ]
        if not complaints:
            complaints += [
                f"{path}: duplicate entries for key" for path in self.shape.duplicates(config)
            ]
        if complaints:
            raise Failure(500, "failed to create typed patch object: " + ", ".join(complaints))
        self.shape.prune(config)

    def admit(self, obj: Object) -> None:
        """Fill in a custom kind's defaults; raises Failure (422) for what is invalid."""
        if self.schema is None:
            wrong = [(path.removeprefix("."), "Required value") for path in self.shape.missing(obj)]
            wrong += [
                (path.removeprefix("."), "Duplicate value") for path in self.shape.duplicates(obj)
            ]
        else:
            self.shape.complete(obj)
            errors = self._validator.iter_errors(obj)
            wrong = sorted((_dotted(error.absolute_path), error.message) for error in errors)
        if wrong:
            raise invalid(self.qualified, obj["metadata"]["name"], wrong)


BUILT_IN: tuple[Kind, ...] = (
    Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    Kind("", "v1", "Event", "events", short_names=("ev",)),
    Kind("", "v1", "Namespace", "namespaces", namespaced=False, status=True, short_names=("ns",)),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", status=True),
    Kind("", "v1", "Pod", "pods", status=True, generation=True, short_names=("po",)),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "Service", "services", status=True),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps", "v1", "Deployment", "deployments", status=True, generation=True),
    Kind("apps", "v1", "ReplicaSet", "replicasets", status=True, generation=True),
    Kind("apps", "v1", "StatefulSet", "statefulsets", status=True, generation=True),
    Kind(
        "coordination.k8s.io",
        "v1",
        "Lease",
        "leases",
        unconditional_update=False,
        create_on_update=True,
    ),
    Kind("events.k8s.io", "v1", "Event", "events", short_names=("ev",)),
    Kind(
        *("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
        namespaced=False,
        status=True,
        generation=True,
        unconditional_update=False,
    ),
)


def custom_kind(definition: Mapping[str, Any]) -> Iterator[Kind]:
    """The served versions of a CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version.get("served", True):
            continue
        yield Kind(
            *(spec["group"], version["name"], names["kind"], names["plural"]),
            namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            status="status" in version.get("subresources", {}),
            generation=True,
            unconditional_update=False,
            short_names=tuple(names.get("shortNames", ())),
            categories=tuple(names.get("categories", ())),
            selectable=tuple(
                selected["jsonPath"].removeprefix(".")
                for selected in version.get("selectableFields", ())
            ),
            schema=version["schema"]["openAPIV3Schema"],
        )


def api_group(group: str, versions: Iterable[str]) -> Object:
    found = [{"groupVersion": f"{group}/{v}", "version": v} for v in dict.fromkeys(versions)]
    return {"name": group, "versions": found, "preferredVersion": found[0]}


def _as_json_schema(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` and exclusive bounds, and `x-kubernetes-int-or-string`, in words
    that jsonschema knows."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _as_json_schema(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        found["type"] = ["integer", "string"]
    if schema.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    for bound, exclusive in (
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ):
        if isinstance(schema.get(exclusive), bool) and found.pop(exclusive) and bound in found:
            found[exclusive] = found.pop(bound)
    return found


def _dotted(path: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
