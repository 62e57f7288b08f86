"""What NetworkPolicies let through: Kubernetes' rules for them as a pure function.

Read from https://kubernetes.io/docs/concepts/services-networking/network-policies/: policies add
up; a pod that no policy of a direction selects is open in it; a connection needs the sender's
egress and the receiver's ingress. Ports are numbers here (the chart uses no names).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """A pod, or with `namespace` None an address outside of the cluster."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def may_connect(
    policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `source` may open a connection to `target`."""
    return _open(policies, "Egress", source, target, port, protocol) and _open(
        policies, "Ingress", target, source, port, protocol
    )


def selecting(policies: Iterable[Policy], place: Place, direction: str) -> list[Policy]:
    """The policies that a pod is under, in one direction (`Egress` or `Ingress`)."""
    return [
        policy
        for policy in policies
        if place.namespace == policy["metadata"]["namespace"]
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], place.labels)
    ]


def _open(
    policies: Sequence[Policy],
    direction: str,
    place: Place,
    other: Place,
    port: int,
    protocol: str,
) -> bool:
    if place.namespace is None:
        return True
    there = selecting(policies, place, direction)
    side = "to" if direction == "Egress" else "from"
    return not there or any(
        _peers_have(rule.get(side), other, policy)
        and _ports_have(rule.get("ports"), port, protocol)
        for policy in there
        for rule in policy["spec"].get(direction.lower()) or ()
    )


def _peers_have(peers: Sequence[Mapping[str, Any]] | None, other: Place, policy: Policy) -> bool:
    return not peers or any(_peer_is(peer, other, policy) for peer in peers)


def _peer_is(peer: Mapping[str, Any], other: Place, policy: Policy) -> bool:
    if "ipBlock" in peer:
        return _within(other.address, peer["ipBlock"]["cidr"]) and not any(
            _within(other.address, hole) for hole in peer["ipBlock"].get("except") or ()
        )
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace}
        if not _selects(peer["namespaceSelector"], labels):
            return False
    elif other.namespace != policy["metadata"]["namespace"]:
        return False
    return _selects(peer.get("podSelector") or {}, other.labels)


def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


def _ports_have(ports: Sequence[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    if not ports:
        return True
    for each in ports:
        first = each.get("port", port)
        assert isinstance(first, int), "named ports are not judged here"
        in_range = first <= port <= each.get("endPort", first)
        if in_range and each.get("protocol", "TCP") == protocol:
            return True
    return False


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise AssertionError(f"no such operator: {expression['operator']}")
