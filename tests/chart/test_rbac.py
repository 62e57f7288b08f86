"""Rights are named one by one: what the operator may do, and what people get without Secrets."""

from __future__ import annotations

from typing import Any

import pytest

from aristobot.contracts.kubernetes import GROUP
from tests.chart.rendering import NAMESPACE, VALUE_SETS, Object, find, render, title

KINDS = ("activestrategies", "brokers", "strategies")

SEE = {"get", "list", "watch"}
#: (group, resource): verbs. In the release's namespace ...
OF_THE_RELEASE = {
    ("", "configmaps"): SEE,
    ("", "events"): {"create", "patch"},
    ("", "pods"): SEE,
    ("", "secrets"): {"create", "delete", "get", "list", "patch", "watch"},
    ("apps", "deployments"): SEE,
    ("coordination.k8s.io", "leases"): {"create", "get", "list", "patch", "update", "watch"},
    ("events.k8s.io", "events"): {"create", "patch"},
    **{(GROUP, kind): SEE for kind in KINDS},
}
#: ... and in each owner's.
OF_AN_OWNER = {
    ("", "configmaps"): SEE,
    ("", "events"): {"create", "patch"},
    ("", "pods"): SEE,
    ("", "secrets"): {"create", "delete", "get", "list", "patch", "watch"},
    ("apps", "deployments"): {"create", "delete", "get", "list", "patch", "update", "watch"},
    ("events.k8s.io", "events"): {"create", "patch"},
    **{(GROUP, kind): {"get", "list", "patch", "watch"} for kind in KINDS},
    **{(GROUP, f"{kind}/finalizers"): {"update"} for kind in KINDS},
    **{(GROUP, f"{kind}/status"): {"patch"} for kind in KINDS},
}

every_set = pytest.mark.parametrize("name", VALUE_SETS)


def _roles(name: str) -> list[Object]:
    return [item for item in render(name) if item["kind"] in {"Role", "ClusterRole"}]


def _rights(role: Object) -> dict[tuple[str, str], set[str]]:
    rights: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        (group,), (resource,) = rule["apiGroups"], rule["resources"]
        assert (group, resource) not in rights, "one rule per resource"
        rights[group, resource] = set(rule["verbs"])
    return rights


@every_set
def test_no_rule_has_a_wildcard_and_verbs_are_in_order(name: str) -> None:
    for role in _roles(name):
        for rule in role["rules"]:
            said: list[Any] = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in said
            assert rule["verbs"] == sorted(rule["verbs"])


@every_set
def test_the_operator_s_rights_are_these(name: str) -> None:
    owners = VALUE_SETS[name].get("owners", [NAMESPACE])
    roles = {title(role): role for role in _roles(name) if role["kind"] == "Role"}
    prefix = "a-name-of-24-characters1" if name == "everything" else "aristobot"
    expected = {f"Role {NAMESPACE}/{prefix}-operator": OF_THE_RELEASE} | {
        f"Role {owner}/{prefix}-operator-owner": OF_AN_OWNER for owner in owners
    }
    assert {where: _rights(role) for where, role in roles.items()} == expected


@every_set
def test_each_role_is_bound_to_the_operator_alone(name: str) -> None:
    bindings = [item for item in render(name) if item["kind"] == "RoleBinding"]
    roles = [role for role in _roles(name) if role["kind"] == "Role"]
    assert [title(b).removeprefix("RoleBinding") for b in bindings] == [
        title(r).removeprefix("Role") for r in roles
    ]
    (account,) = (o for o in render(name) if o["kind"] == "ServiceAccount")
    for binding in bindings:
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["roleRef"]["name"] == binding["metadata"]["name"]
        assert binding["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": account["metadata"]["name"],
                "namespace": account["metadata"]["namespace"],
            }
        ]
    assert not [o for o in render(name) if o["kind"] == "ClusterRoleBinding"]


def test_people_get_aristobot_s_resources_and_nothing_else() -> None:
    trader = find(render("first-look"), "ClusterRole", "aristobot-trader")
    viewer = find(render("first-look"), "ClusterRole", "aristobot-viewer")
    everything = {
        *("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
    }
    assert _rights(trader) == {(GROUP, kind): everything for kind in KINDS}
    assert _rights(viewer) == {(GROUP, kind): SEE for kind in KINDS}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {
        role["metadata"]["name"]: {
            label.removeprefix(prefix) for label in role["metadata"]["labels"] if prefix in label
        }
        for role in (trader, viewer)
    } == {"aristobot-trader": {"admin", "edit"}, "aristobot-viewer": {"view"}}
