"""Wrong values are refused with a sentence that says what to do; right ones are all explained."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from helm_python import HelmError

from tests.chart.rendering import CHART, ROOT, Values, objects_of, render_values, title

EMBEDDED: Values = {"embedded": {"enabled": True}}
NO_SIMULATOR: Values = EMBEDDED | {"simulator": {"enabled": False}}
GIVEN: Values = {"nats": {"url": "nats://nats:4222"}, "database": {"existingSecret": "db"}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "set nats.url .* or embedded.enabled=true"),
        ({}, "set database.existingSecret .* or cloudnativepg.enabled=true"),
        ({"nats": GIVEN["nats"]}, "There is no database"),
        ({"database": GIVEN["database"]}, "There is no NATS"),
        (EMBEDDED | {"nats": GIVEN["nats"]}, "leave nats.url empty"),
        (EMBEDDED | {"database": GIVEN["database"]}, "leave database.existingSecret"),
        (EMBEDDED | {"nats": {"replicas": 3}}, "leave nats.replicas at 1"),
        (EMBEDDED | {"cloudnativepg": {"enabled": True}}, "leave database.existingSecret"),
        (GIVEN | {"cloudnativepg": {"enabled": True}}, "not both"),
        (GIVEN | {"heartbeat": {"markets": ["binance-simulator"]}}, "set simulator.enabled=true"),
        (NO_SIMULATOR | {"heartbeat": {"markets": ["binance-simulator"]}}, "there is no simulator"),
        (EMBEDDED | {"httpRoute": {"enabled": True}}, "set httpRoute.parentRefs"),
        (EMBEDDED | {"telemetry": {"otlpEndpoint": "https://tempo"}}, "set telemetry.peers"),
    ],
)
def test_values_that_don_t_go_together_are_refused(values: Values, said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render_values(values)


def test_a_release_name_that_makes_names_too_long_is_refused() -> None:
    release = "a-release-with-a-long-name"
    with pytest.raises(HelmError, match="set fullnameOverride"):
        render_values(EMBEDDED, release=release)
    files = render_values(EMBEDDED | {"fullnameOverride": "short"}, release=release)
    assert {item["metadata"]["name"].partition("-")[0] for item in objects_of(files)} == {"short"}


def test_the_release_s_name_is_part_of_every_name() -> None:
    files = render_values(EMBEDDED, release="desk")
    names = [item["metadata"]["name"] for item in objects_of(files)]
    assert all(name.startswith("desk-aristobot-") for name in names)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"embeded": {"enabled": True}}, "embeded"),
        ({"embedded": {"enabled": "yes"}}, "/embedded/enabled"),
        ({"owners": ["Alice"]}, "/owners/0"),
        ({"owners": ["alice", "alice"]}, "/owners"),
        ({"ingress": {"port": 80}}, "port"),
        ({"ingress": {"allow": ["tradingview.com"]}}, "/ingress/allow/0"),
        ({"ingress": {"trustedProxies": "10.42.0.0/16"}}, "/ingress/trustedProxies"),
        ({"heartbeat": {"markets": ["kraken"]}}, "/heartbeat/markets/0"),
        ({"heartbeat": {"replicas": 3}}, "/heartbeat/replicas"),
        ({"operator": {"workers": 0}}, "/operator/workers"),
        ({"engine": {"replicas": 2}}, "replicas"),
        ({"engine": {"resources": {"limits": {"memory": "lots"}}}}, "/resources/limits/memory"),
        ({"engine": {"env": [{"name": "X", "value": 1}]}}, "/engine/env/0/value"),
        ({"nats": {"url": "nats://user:password@nats:4222"}}, "/nats/url"),
        ({"nats": {"url": "nats:4222"}}, "/nats/url"),
        ({"nats": {"replicas": 2}}, "/nats/replicas"),
        ({"database": {"url": "postgresql://u:p@h/d"}}, "url"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"image": {"repository": "aristobot:latest"}}, "/image/repository"),
        ({"logLevel": "VERBOSE"}, "/logLevel"),
        ({"networkPolicy": {"internet": {"ports": [0]}}}, "/networkPolicy/internet/ports/0"),
        ({"fullnameOverride": "a-name-of-25-characters-xy"}, "/fullnameOverride"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(values: Values, said: str) -> None:
    with pytest.raises(HelmError, match=re.escape(said)):
        render_values(EMBEDDED | values)


def _schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def _resolve(schema: Any, node: Any) -> Any:
    reference = node.get("$ref")
    return schema["definitions"][reference.rsplit("/", 1)[1]] if reference else node


def _differences(schema: Any, node: Any, values: Any, path: str) -> Iterator[str]:
    """Keys that only one of schema and values.yaml has, and schema nodes without a description."""
    node = _resolve(schema, node)
    if path and not node.get("description"):
        yield f"{path}: no description"
    if node.get("additionalProperties", True) is not False or "properties" not in node:
        return
    known, given = set(node["properties"]), set(values or {})
    for key in sorted(given - known):
        yield f"{path}.{key}: not in the schema"
    for key in sorted(known):
        if key in given:
            yield from _differences(schema, node["properties"][key], values[key], f"{path}.{key}")


def test_the_schema_knows_and_explains_every_value() -> None:
    schema = _schema()
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert list(_differences(schema, schema, values, "")) == []
    # `global` is Helm's own.
    assert set(schema["properties"]) == set(values) | {"global"}


def _objects(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "properties" in node and isinstance(node["properties"], dict):
            yield node
        for child in node.values():
            yield from _objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from _objects(child)


def test_the_schema_refuses_a_misspelt_key_everywhere() -> None:
    nodes = list(_objects(_schema()))
    assert len(nodes) > 30
    for node in nodes:
        assert node.get("additionalProperties") is False, sorted(node["properties"])


def test_every_block_of_values_is_explained_where_it_stands() -> None:
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        # The last two share a comment.
        if re.match(r"[a-zA-Z]+:", line) and line != "tolerations: []":
            assert before.startswith("#"), line


@pytest.mark.parametrize("enabled", [True, False, None])
def test_the_simulator_follows_embedded_unless_it_is_told(enabled: bool | None) -> None:
    objects = list(objects_of(render_values(EMBEDDED | {"simulator": {"enabled": enabled}})))
    titles = {title(item) for item in objects}
    assert ("StatefulSet aristobot/aristobot-simulator" in titles) is (enabled is not False)


def test_skaffold_installs_charts_and_values_that_there_are() -> None:
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    (artifact,) = config["build"]["artifacts"]
    releases = {release["name"]: release for release in config["deploy"]["helm"]["releases"]}
    release = releases["aristobot"]
    assert ROOT / release["chartPath"] == CHART
    assert release["dependsOn"] == ["aristobot-crds"]
    values: Values = {}
    for file in release["valuesFiles"]:
        values |= yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    for key, template in release["setValueTemplates"].items():
        # Skaffold's names for a built image: its own, with what no variable may have replaced.
        assert re.fullmatch(r"\{\{\.IMAGE_(REPO|TAG)_" + artifact["image"] + r"\}\}", template)
        group, _, name = key.partition(".")
        values.setdefault(group, {})[name] = "example"
    assert list(objects_of(render_values(values)))
