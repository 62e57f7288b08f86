"""What is rendered is what Kubernetes takes: Helm's linter, the API's schemas, names, versions."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterator

import kubernetes_validate.utils
import pytest
import yaml
from helm_python import lint

from tests.chart.rendering import (
    CHART,
    NAMESPACE,
    ROOT,
    VALUE_SETS,
    Object,
    notes,
    pods,
    render,
    title,
)

#: Of others' operators, whose schemas nobody ships: the group is checked, the rest is not.
THIRD_PARTY = {
    "Cluster": "postgresql.cnpg.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
}
#: What the chart promises (`kubeVersion`), and whatever the validator knows beyond.
KUBERNETES = [
    version
    for version in dict.fromkeys(kubernetes_validate.utils.all_versions())
    if tuple(map(int, version.split(".")[:2])) >= (1, 33)
]
#: RFC 1123 subdomains may be longer; names that end in labels (a StatefulSet's, a Service's) not.
LONGEST_NAME = 63
LONGEST_STATEFUL_SET = 52
CLUSTER_WIDE = {"ClusterRole", "PriorityClass"}

every_set = pytest.mark.parametrize("name", VALUE_SETS)


@every_set
def test_helm_s_linter_finds_nothing(name: str) -> None:
    report = lint(CHART, VALUE_SETS[name], strict=True, namespace=NAMESPACE)
    assert report["errors"] == []
    # 1 is information: the chart has no icon.
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@pytest.fixture(scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    """The validator opens megabytes of schema for each object."""
    patch = pytest.MonkeyPatch()
    cached = functools.cache(kubernetes_validate.utils.schema_contents)
    patch.setattr(kubernetes_validate.utils, "schema_contents", cached)
    yield
    patch.undo()


def _different_objects(version: str) -> list[Object]:
    """Of all value sets what differs, once; for the versions between, of the fullest set alone."""
    names = VALUE_SETS if version in {KUBERNETES[0], KUBERNETES[-1]} else ["everything"]
    every = (item for name in names for item in render(name))
    return list({json.dumps(item): item for item in every}.values())


@pytest.mark.usefixtures("_schemas_are_read_once")
@pytest.mark.parametrize("version", KUBERNETES)
def test_the_api_s_schemas_accept_every_object(version: str) -> None:
    for item in _different_objects(version):
        if item["kind"] in THIRD_PARTY:
            assert item["apiVersion"] == THIRD_PARTY[item["kind"]]
            continue
        try:
            kubernetes_validate.utils.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{title(item)}: {list(error.path)}: {error.message}")


def test_a_wrong_field_would_be_noticed() -> None:
    (item,) = (o for o in render("first-look") if o["kind"] == "Ingress")
    wrong = {**item, "spec": {**item["spec"], "ingressClass": "traefik"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


@every_set
def test_names_are_short_enough_and_nobody_s_twice(name: str) -> None:
    titles = [title(item) for item in render(name)]
    assert len(titles) == len(set(titles))
    for item in render(name):
        longest = LONGEST_STATEFUL_SET if item["kind"] == "StatefulSet" else LONGEST_NAME
        assert len(item["metadata"]["name"]) <= longest, title(item)


@every_set
def test_every_object_says_whose_it_is_and_where(name: str) -> None:
    for item in render(name):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "aristobot"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/instance"]
        assert ("namespace" in item["metadata"]) != (item["kind"] in CLUSTER_WIDE), title(item)


@every_set
def test_no_template_makes_a_secret(name: str) -> None:
    assert [title(item) for item in render(name) if item["kind"] == "Secret"] == []


@every_set
def test_services_select_one_part_and_name_ports_that_it_has(name: str) -> None:
    makers = [o for o in render(name) if o.get("spec", {}).get("template")]
    for service in (o for o in render(name) if o["kind"] == "Service"):
        wanted = service["spec"]["selector"].items()
        found = [m for m in makers if wanted <= m["spec"]["template"]["metadata"]["labels"].items()]
        assert len(found) == 1, title(service)
        (container,) = found[0]["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


@every_set
def test_selectors_find_the_pods_of_their_own_object_alone(name: str) -> None:
    makers = [o for o in render(name) if o["kind"] in {"Deployment", "StatefulSet"}]
    assert makers
    for one in makers:
        selector = one["spec"]["selector"]["matchLabels"].items()
        found = [
            title(other)
            for other in makers
            if selector <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert found == [title(one)]


@every_set
def test_a_disruption_budget_stands_only_before_pods_that_there_are_two_of(name: str) -> None:
    makers = [o for o in render(name) if o["kind"] in {"Deployment", "StatefulSet"}]
    budgets = [o for o in render(name) if o["kind"] == "PodDisruptionBudget"]
    guarded = []
    for budget in budgets:
        selector = budget["spec"]["selector"]["matchLabels"].items()
        (maker,) = (m for m in makers if selector <= m["spec"]["selector"]["matchLabels"].items())
        guarded.append(title(maker))
    assert sorted(guarded) == sorted(title(m) for m in makers if m["spec"]["replicas"] > 1)


def test_the_versions_are_the_product_s() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    product = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert chart["version"] == product["version"]
    assert chart["appVersion"] == product["version"]


def test_a_new_version_of_the_chart_alone_restarts_no_pod() -> None:
    for item in render("first-look"):
        template = item.get("spec", {}).get("template", {})
        assert "helm.sh/chart" not in template.get("metadata", {}).get("labels", {}), title(item)


@every_set
def test_the_notes_say_where_webhooks_go(name: str) -> None:
    text = notes(name)
    assert "/webhook/<token>" in text
    assert "%!" not in text
    assert "<no value>" not in text


@every_set
def test_the_notes_give_commands_that_work_there(name: str) -> None:
    """kubectl watches one kind at a time; and only a simulator takes a simulator's Broker."""
    commands = [line.strip() for line in notes(name).splitlines() if line.startswith("  kubectl")]
    for watched in (line.partition(" get ")[2] for line in commands if "--watch" in line):
        assert "," not in watched
    (file,) = (line.partition(" -f ")[2] for line in commands if " apply " in line)
    documents = list(yaml.safe_load_all((ROOT / file).read_text(encoding="utf-8")))
    (broker,) = (each for each in documents if each["kind"] == "Broker")
    simulated = any(each.component == "simulator" for each in pods(render(name)))
    assert (broker["spec"]["environment"] == "simulator") is simulated


def test_the_notes_name_the_host_and_the_first_owner() -> None:
    assert "https://hooks.example.com/webhook/<token>" in notes("production")
    assert "https://hooks.example.com/webhook/<token>" in notes("cloudnativepg")
    assert "kubectl --namespace alice get secret <broker>-webhook" in notes("two-owners")
