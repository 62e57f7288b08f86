"""Every pod of the chart: Pod Security `restricted`, resources, probes, how it ends, its files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import VALUE_SETS, Object, find, pod, pods, render, title
from tests.harness.pod_security import containers_of, restricted_violations

#: They act on Kubernetes' API; nobody else gets a token for it.
SPEAK_TO_KUBERNETES = {"operator", "operator-release"}
#: They run once and end, so nobody asks them how they are.
RUN_ONCE = {"operator-release", "test"}

every_set = pytest.mark.parametrize("name", VALUE_SETS)


@every_set
def test_pod_security_admits_every_pod_as_restricted(name: str) -> None:
    assert {p.source: restricted_violations(p.spec) for p in pods(render(name))} == {
        p.source: [] for p in pods(render(name))
    }


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        (("hostNetwork",), True, "hostNetwork is on"),
        (("volumes",), [{"name": "v", "hostPath": {"path": "/"}}], "volume v is a hostPath"),
        (("securityContext", "runAsNonRoot"), False, "api may run as root"),
        (("securityContext", "seccompProfile"), None, "api has no seccomp profile"),
        (("containers", 0, "securityContext", "privileged"), True, "api is privileged"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "api runs as root"),
        (("containers", 0, "securityContext", "capabilities"), {}, "api keeps capabilities"),
        (
            ("containers", 0, "securityContext", "allowPrivilegeEscalation"),
            None,
            "api may escalate its privileges",
        ),
        (
            ("containers", 0, "ports"),
            [{"containerPort": 1, "hostPort": 1}],
            "api takes port 1 of its node",
        ),
    ],
)
def test_a_pod_that_isn_t_restricted_would_be_noticed(
    path: tuple[str | int, ...], value: object, violation: str
) -> None:
    spec = _with(pod("first-look", "api").spec, path, value)
    assert restricted_violations(spec) == [violation]


def _with(node: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy of `node` with `value` at `path`."""
    if not path:
        return value
    head, *rest = path
    if isinstance(node, list):
        return [*node[:head], _with(node[head], tuple(rest), value), *node[head + 1 :]]
    return {**node, head: _with(node.get(head), tuple(rest), value)}


@every_set
def test_only_the_operator_gets_a_token_of_the_api_server(name: str) -> None:
    for each in pods(render(name)):
        speaks = each.component in SPEAK_TO_KUBERNETES
        assert each.spec["automountServiceAccountToken"] is speaks, each.source
        assert ("serviceAccountName" in each.spec) is speaks, each.source
        assert each.spec["enableServiceLinks"] is False
    accounts = [o for o in render(name) if o["kind"] == "ServiceAccount"]
    assert [a["automountServiceAccountToken"] for a in accounts] == [False]


@every_set
def test_every_container_asks_for_what_it_needs_and_no_more_memory_than_its_limit(
    name: str,
) -> None:
    for each in pods(render(name)):
        for container in containers_of(each.spec):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), each.source
            asked, limit = resources["requests"]["memory"], resources["limits"]["memory"]
            assert 0 < _mebibytes(asked) <= _mebibytes(limit), each.source


def _mebibytes(quantity: str) -> int:
    number, unit = int(quantity[:-2]), quantity[-2:]
    return number * {"Mi": 1, "Gi": 1024}[unit]


@every_set
def test_what_stays_is_probed(name: str) -> None:
    for each in pods(render(name)):
        if each.component in RUN_ONCE:
            assert each.spec["restartPolicy"] == "Never"
            continue
        (container,) = each.spec["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            how = container[probe].get("httpGet") or container[probe]["tcpSocket"]
            assert how["port"] in ports, each.source


@every_set
def test_readiness_asks_whether_it_works_and_liveness_only_whether_it_lives(name: str) -> None:
    for each in pods(render(name)):
        if each.component in {*RUN_ONCE, "nats", "postgres"}:
            continue
        (container,) = each.spec["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["startupProbe"]["httpGet"]["path"] == "/healthz"


@every_set
def test_nothing_is_written_but_to_scratch_and_volumes(name: str) -> None:
    for each in pods(render(name)):
        volumes = {volume["name"]: volume for volume in each.spec["volumes"]}
        for container in containers_of(each.spec):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounts["scratch"]["mountPath"] == "/tmp"
            assert volumes["scratch"]["emptyDir"]["sizeLimit"]
            for mounted in mounts.keys() - {"scratch", "data"}:
                assert mounts[mounted]["readOnly"] is True
        for volume in volumes.values():
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440


def test_the_ingress_goes_on_answering_until_the_proxies_know_that_it_leaves() -> None:
    spec = pod("first-look", "ingress").spec
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The service's own stop sequence takes up to ten seconds.
    assert pause + 10 < spec["terminationGracePeriodSeconds"]


def test_two_engines_never_run_at_once() -> None:
    engine = find(render("everything"), "Deployment", "a-name-of-24-characters1-engine")
    assert engine["spec"]["replicas"] == 1
    assert engine["spec"]["strategy"] == {"type": "Recreate"}


def test_the_schema_is_brought_up_to_date_before_the_engine_starts() -> None:
    spec = pod("production", "engine").spec
    (migrate,) = spec["initContainers"]
    assert migrate["args"] == ["migrate"]
    variables = {variable["name"]: variable for variable in migrate["env"]}
    assert variables["ARISTOBOT_DATABASE_URL"]["valueFrom"]["secretKeyRef"] == {
        "name": "aristobot-database",
        "key": "database-url",
    }


@every_set
def test_what_holds_money_is_evicted_last(name: str) -> None:
    found = [item for item in render(name) if item["kind"] == "PriorityClass"]
    classes = {item["metadata"]["name"]: item["value"] for item in found}
    for each in pods(render(name)):
        given = each.spec.get("priorityClassName")
        if not classes:
            assert given is None
            continue
        expected = "money" if each.component in {"nats", "postgres"} else "platform"
        assert given is not None
        assert given.endswith(f"-{expected}"), each.source
    if classes:
        by_part = {name.rpartition("-")[2]: value for name, value in classes.items()}
        assert by_part["money"] > by_part["platform"] > 0


def test_replicas_of_one_part_are_spread_over_nodes_where_that_is_possible() -> None:
    for component in ("ingress", "operator"):
        each = pod("production", component)
        (constraint,) = each.spec["topologySpreadConstraints"]
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["labelSelector"]["matchLabels"].items() <= each.labels.items()


def test_the_operator_restarts_when_its_settings_change() -> None:
    def checksum(name: str) -> str:
        (item,) = (o for o in render(name) if title(o) == "Deployment aristobot/aristobot-operator")
        annotations: Object = item["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum("first-look") != checksum("two-owners")


@every_set
def test_places_and_pull_secrets_reach_every_pod(name: str) -> None:
    values = VALUE_SETS[name]
    for each in pods(render(name)):
        assert each.spec.get("nodeSelector", {}) == values.get("nodeSelector", {})
        assert each.spec.get("tolerations", []) == values.get("tolerations", [])
        secrets = values.get("image", {}).get("pullSecrets", [])
        assert each.spec.get("imagePullSecrets", []) == secrets
