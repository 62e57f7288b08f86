"""The files in `crds` are what the models say, and of the form that the API server takes."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from aristobot.contracts.crds.definitions import KINDS, definition, file_name, file_text
from aristobot.contracts.crds.structural import NotStructural, structural
from aristobot.contracts.resource_status import (
    ActiveStrategyStatus,
    BrokerStatus,
    StrategyResourceStatus,
)
from aristobot.contracts.resources import ActiveStrategySpec, BrokerSpec, StrategySpec

CRDS = Path(__file__).parents[4] / "crds"
MODELS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "Broker": (BrokerSpec, BrokerStatus),
    "Strategy": (StrategySpec, StrategyResourceStatus),
    "ActiveStrategy": (ActiveStrategySpec, ActiveStrategyStatus),
}
#: What a structural schema may say, as far as we use it; `$ref`, `additionalProperties: false`,
#: `nullable`, `anyOf` and x-kubernetes-preserve-unknown-fields are not among it, on purpose.
ALLOWED = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
}
#: What the API server itself knows of every resource.
GIVEN = ("apiVersion", "kind", "metadata")


def _schema(kind: str) -> dict[str, Any]:
    return definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _nodes(part, f"{path}.{name}")
    for key, step in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from _nodes(schema[key], path + step)


NODES = [
    pytest.param(node, id=path)
    for kind in KINDS
    for path, node in _nodes(_schema(kind), kind)
    if path.removeprefix(f"{kind}.") not in GIVEN
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_what_the_models_say(kind: str) -> None:
    text = (CRDS / file_name(kind)).read_text(encoding="utf-8")
    assert text == file_text(kind), "run `make crds`"
    assert yaml.safe_load(text) == definition(kind)


def test_there_is_no_other_file() -> None:
    assert {path.name for path in CRDS.glob("*.yaml")} == {file_name(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_of_metadata(kind: str) -> None:
    """The API server refuses even a description there (tried on v1.35)."""
    assert _schema(kind)["properties"]["metadata"] == {"type": "object"}


@pytest.mark.parametrize("node", NODES)
def test_every_part_is_structural_and_bounded(node: dict[str, Any]) -> None:
    assert not set(node) - ALLOWED
    match node["type"]:
        case "object":
            has_fields, is_map = "properties" in node, "additionalProperties" in node
            assert has_fields != is_map
            assert set(node.get("required", ())) <= set(node.get("properties", ()))
            assert has_fields or "maxProperties" in node
        case "array":
            assert {"items", "maxItems"} <= set(node)
        case "string":
            assert "maxLength" in node or "enum" in node
        case "integer":
            assert "minimum" in node
            assert node["format"] in ("int32", "int64")
        case "number":
            assert {"minimum", "maximum"} <= set(node)
        case other:
            assert other == "boolean"


@pytest.mark.parametrize(
    "path_and_node",
    [p for p in NODES if not str(p.id).endswith((".*", "[]"))],
)
def test_kubectl_explain_says_something_of_every_field(path_and_node: dict[str, Any]) -> None:
    assert path_and_node["description"].endswith((".", ").")), path_and_node["description"]


@pytest.mark.parametrize("node", NODES)
def test_every_rule_says_what_is_wrong(node: dict[str, Any]) -> None:
    for rule in node.get("x-kubernetes-validations", ()):
        assert len(rule["message"]) > 15
        assert "\n" not in rule["message"]
        if "fieldPath" in rule:
            assert rule["fieldPath"].removeprefix(".") in node["properties"]


def _fields_of(model: type[BaseModel]) -> set[str]:
    return {str(field.alias) for field in model.model_fields.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_spec_and_status_have_the_fields_of_the_models(kind: str) -> None:
    schema = _schema(kind)["properties"]
    spec, status = MODELS[kind]
    assert set(schema["spec"]["properties"]) == _fields_of(spec)
    assert set(schema["status"]["properties"]) == _fields_of(status)


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_the_model(kind: str) -> None:
    """What is stored after defaulting is what the model takes an empty field for."""
    spec = _schema(kind)["properties"]["spec"]
    for field in MODELS[kind][0].model_fields.values():
        said = spec["properties"][str(field.alias)].get("default")
        if field.is_required():
            assert said is None
            continue
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            default = default.model_dump(mode="json", by_alias=True, exclude_none=True)
        assert said == default


def test_an_active_strategy_can_t_be_scaled() -> None:
    version = definition("ActiveStrategy")["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}


def test_get_astrat_shows_what_is_asked_for() -> None:
    version = definition("ActiveStrategy")["spec"]["versions"][0]
    shown = [c["name"] for c in version["additionalPrinterColumns"] if c["priority"] == 0]
    assert shown == ["Ready", "Strategy", "Broker", "Symbol", "TF", "Position", "Age"]


class _Two(BaseModel):
    """A field that is one of two types."""

    field: int | str


class _Anything(BaseModel):
    """A field that may be anything."""

    field: dict[str, object]


@pytest.mark.parametrize("model", [_Two, _Anything])
def test_what_no_structural_schema_can_say_is_an_error(model: type[BaseModel]) -> None:
    with pytest.raises(NotStructural, match="field"):
        structural(model)


def test_the_page_for_users_is_what_the_models_say() -> None:
    generate = runpy.run_path(str(CRDS / "generate.py"), run_name="generate")
    page = generate["PAGE"].read_text(encoding="utf-8")
    assert page == generate["page_text"](page), "run `make crds`"
