"""Who reaches whom: every pair of places against the table of what is meant to be open."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aristobot.contracts.kubernetes import COMPONENT_LABEL, NAME_LABEL
from tests.chart.network import Place, may_connect, selecting
from tests.chart.rendering import NAMESPACE, VALUE_SETS, Object, pods, render

PORTS = {
    **{"ingress": 8888, "api": 8889, "simulator": 8890, "nats": 4222, "postgres": 5432},
    **{"engine": 9090, "operator": 9090, "gateway": 9090, "runner": 9090},
}
#: Where other parts send spans, on the pod of the api; nothing can be read there.
SPANS = 4318
#: Pods that the operator makes, in an owner's namespace.
CHILDREN = ("gateway", "runner")
#: What isn't the chart's: (place, port).
OTHERS = {
    "dns": (Place("10.42.0.2", "kube-system", {"k8s-app": "kube-dns"}), 53),
    "kubernetes": (Place("10.40.0.1"), 6443),
    "internet": (Place("203.0.113.10"), 443),
    "mail": (Place("203.0.113.10"), 25),
    "metadata": (Place("169.254.169.254"), 443),
    "home": (Place("192.168.1.1"), 443),
    "neighbour": (Place("10.42.0.3", "default", {"app": "shop"}), 443),
    "traefik": (Place("10.42.0.4", "kube-system", {NAME_LABEL: "traefik"}), 8080),
    "prometheus": (Place("10.42.0.5", "monitoring", {NAME_LABEL: "prometheus"}), 9090),
}
#: Who calls from outside of the chart.
CALLERS = ("internet", "neighbour", "traefik", "prometheus")

FIRST_LOOK: Mapping[str, set[str]] = {
    "operator": {"dns", "kubernetes", "nats", "spans", "simulator", "home", "neighbour"},
    "operator-release": {"dns", "kubernetes", "home", "neighbour"},
    "ingress": {"dns", "nats", "spans"},
    "engine": {"dns", "nats", "postgres", "spans"},
    "api": {"dns", "nats", "postgres"},
    "heartbeat": {"dns", "nats", "postgres", "spans", "simulator"},
    "simulator": set(),
    "nats": set(),
    "postgres": set(),
    "test": {"dns", "nats", "api", "ingress"},
    "gateway": {"dns", "nats", "postgres", "spans", "simulator", "internet"},
    "runner": {"dns", "nats", "spans"},
    "internet": set(),
    "neighbour": set(),
    "traefik": {"ingress"},
    "prometheus": set(),
}


def _policies(name: str) -> list[Object]:
    return [item for item in render(name) if item["kind"] == "NetworkPolicy"]


def _places(name: str, owner: str) -> dict[str, Place]:
    """The chart's pods by component, and the children of one owner."""
    found = {
        each.component: Place(f"10.42.1.{number}", each.namespace, each.labels)
        for number, each in enumerate(pods(render(name)), 1)
    }
    for number, child in enumerate(CHILDREN, 200):
        labels = {NAME_LABEL: "aristobot", COMPONENT_LABEL: child}
        found[child] = Place(f"10.42.1.{number}", owner, labels)
    return found


def _reached(name: str, owner: str) -> dict[str, set[str]]:
    """From each place all that it may connect to."""
    policies = _policies(name)
    ours = _places(name, owner)
    sources = ours | {caller: OTHERS[caller][0] for caller in CALLERS}
    targets = {
        component: (place, PORTS[component])
        for component, place in ours.items()
        if component in PORTS
    }
    targets["spans"] = (ours["api"], SPANS)
    reached: dict[str, set[str]] = {}
    for source, place in sources.items():
        beyond = OTHERS if source in ours else {}
        reached[source] = {
            target
            for target, (other, port) in (targets | beyond).items()
            if target != source and may_connect(policies, place, other, port)
        }
    return reached


def test_in_a_first_look_everybody_reaches_what_the_table_says_and_nothing_else() -> None:
    assert _reached("first-look", NAMESPACE) == FIRST_LOOK


@pytest.mark.parametrize("owner", ["alice", "bob"])
def test_pods_in_an_owner_s_namespace_reach_the_same(owner: str) -> None:
    assert _reached("two-owners", owner) == FIRST_LOOK


def test_one_owner_s_pods_reach_no_other_s() -> None:
    policies = _policies("two-owners")
    alice, bob = _places("two-owners", "alice"), _places("two-owners", "bob")
    for source in CHILDREN:
        for target in CHILDREN:
            assert not may_connect(policies, alice[source], bob[target], PORTS[target])


def test_a_namespace_that_is_no_owner_s_gets_nothing_by_calling_its_pods_ours() -> None:
    policies = _policies("two-owners")
    places = _places("two-owners", "alice")
    for component in CHILDREN:
        stranger = Place("10.42.3.1", "mallory", places[component].labels)
        for target, port in PORTS.items():
            assert not may_connect(policies, stranger, places[target], port)


@pytest.mark.parametrize("name", [name for name in VALUE_SETS if name != "least"])
def test_every_pod_is_under_policies_both_ways(name: str) -> None:
    policies = _policies(name)
    owners = VALUE_SETS[name].get("owners", [NAMESPACE])
    for owner in owners:
        for component, place in _places(name, owner).items():
            for direction in ("Egress", "Ingress"):
                names = [p["metadata"]["name"] for p in selecting(policies, place, direction)]
                # The one that denies all, and the part's own.
                assert len(names) == 2, (component, names)


@pytest.mark.parametrize("name", [name for name in VALUE_SETS if name != "least"])
def test_only_gateways_and_heartbeats_of_real_markets_reach_the_internet(name: str) -> None:
    policies = _policies(name)
    owner = VALUE_SETS[name].get("owners", [NAMESPACE])[0]
    children = {child: _places(name, owner)[child] for child in CHILDREN}
    places = [(p.source, Place("10.42.1.1", p.namespace, p.labels)) for p in pods(render(name))]
    online = {
        source
        for source, place in [*places, *children.items()]
        if may_connect(policies, place, *OTHERS["internet"])
    }
    markets = {market for market in ("binance", "binance-testnet") if _beats(name, market)}
    release = "a-name-of-24-characters1" if name == "everything" else "aristobot"
    beats = {f"StatefulSet {NAMESPACE}/{release}-heartbeat-{market}" for market in markets}
    assert online == {"gateway"} | beats
    for source, place in places:
        for forbidden in ("mail", "metadata"):
            assert not may_connect(policies, place, *OTHERS[forbidden]), source


def _beats(name: str, market: str) -> bool:
    return any(item["metadata"]["name"].endswith(f"-heartbeat-{market}") for item in render(name))


def test_binance_s_market_stream_has_a_port_of_its_own() -> None:
    (beat,) = (
        Place("10.42.1.1", p.namespace, p.labels)
        for p in pods(render("production"))
        if p.source.endswith("-heartbeat-binance")
    )
    assert may_connect(_policies("production"), beat, Place("203.0.113.10"), 9443)


def test_names_are_resolved_over_udp_too() -> None:
    place = _places("first-look", NAMESPACE)["engine"]
    assert may_connect(_policies("first-look"), place, OTHERS["dns"][0], 53, "UDP")


def test_metrics_are_read_by_prometheus_alone_and_only_when_that_is_wanted() -> None:
    policies, places = _policies("production"), _places("production", NAMESPACE)
    for component in ("engine", "operator", "heartbeat", "gateway", "runner", "api", "ingress"):
        port = PORTS.get(component, 9090)
        for caller in CALLERS:
            reached = may_connect(policies, OTHERS[caller][0], places[component], port)
            way_in = caller == "traefik" and component == "ingress"
            assert reached == (caller == "prometheus" or way_in), (caller, component)


def test_servers_that_aren_t_ours_are_reached_where_the_values_say() -> None:
    policies, places = _policies("production"), _places("production", NAMESPACE)
    nats = Place("10.42.5.1", "nats", {"app": "nats"})
    other = Place("10.42.5.2", "default", {"app": "nats"})
    database = Place("10.20.30.40")
    for component in ("ingress", "engine", "api", "heartbeat", "gateway", "runner", "operator"):
        assert may_connect(policies, places[component], nats, 4222)
        assert not may_connect(policies, places[component], other, 4222)
        has_database = component in {"engine", "api", "heartbeat", "gateway"}
        assert may_connect(policies, places[component], database, 5432) is has_database
        assert not may_connect(policies, places[component], Place("10.20.30.41"), 5432)


def test_a_cloudnativepg_database_is_reached_and_no_other_pod_s() -> None:
    policies, places = _policies("cloudnativepg"), _places("cloudnativepg", NAMESPACE)
    own = Place("10.42.5.1", NAMESPACE, {"cnpg.io/cluster": "aristobot-db"})
    other = Place("10.42.5.2", NAMESPACE, {"cnpg.io/cluster": "shop"})
    assert may_connect(policies, places["engine"], own, 5432)
    assert not may_connect(policies, places["engine"], other, 5432)
    assert not may_connect(policies, places["runner"], own, 5432)


def test_a_telemetry_receiver_of_one_s_own_replaces_the_api() -> None:
    policies, places = _policies("everything"), _places("everything", "alice")
    tempo = Place("10.42.5.1", "monitoring", {NAME_LABEL: "tempo"})
    for component in ("engine", "gateway", "runner", "ingress"):
        assert may_connect(policies, places[component], tempo, 4318)
        assert not may_connect(policies, places[component], places["api"], PORTS["api"])
    for elsewhere in (OTHERS["home"][0], OTHERS["neighbour"][0]):
        assert not may_connect(policies, places["runner"], elsewhere, 4318)


def test_the_api_server_s_address_can_be_named() -> None:
    policies, places = _policies("everything"), _places("everything", "alice")
    assert may_connect(policies, places["operator"], Place("198.51.100.7"), 6443)
    assert not may_connect(policies, places["operator"], Place("10.40.0.1"), 6443)


def test_policies_can_be_left_out() -> None:
    assert _policies("least") == []
