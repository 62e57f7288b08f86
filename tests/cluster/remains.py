"""What is there: before an installation, and after it was uninstalled."""

from __future__ import annotations

from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.release import RELEASE

#: `Kind/name` of each object.
Objects = frozenset[str]

_GROUP = "trading.aristobot.io"
DEFINITIONS: Objects = frozenset(
    f"CustomResourceDefinition/{kind}.{_GROUP}"
    for kind in ("activestrategies", "brokers", "strategies")
)
#: What an installation adds to a cluster for good: the definitions, which a chart of their own
#: brings, and what the API server makes of them.
STAYS: Objects = DEFINITIONS | {f"APIService/v1alpha1.{_GROUP}"}
#: Kinds that come and go by themselves, with what they are about.
_FLEETING = {"Event", "EndpointSlice", "Endpoints", "IPAddress", "PodMetrics"}
#: Of every namespace.
_GIVEN = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


def _kinds(kubectl: Kubectl, *, namespaced: bool) -> str:
    listing = ("api-resources", "--verbs=list", "-o", "name", f"--namespaced={namespaced}".lower())
    return ",".join(kubectl.run(*listing).stdout.split())


def _titles(kubectl: Kubectl, kinds: str) -> Objects:
    found = kubectl.list(kinds, "--ignore-not-found")
    return frozenset(
        f"{each['kind']}/{each['metadata']['name']}"
        for each in found
        if each["kind"] not in _FLEETING and _may_be_ours(each)
    )


def _may_be_ours(found: Object) -> bool:
    """Whatever says that it is another release's isn't: somebody may install one meanwhile."""
    labels = found["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/instance", RELEASE) == RELEASE


def in_namespace(kubectl: Kubectl) -> Objects:
    """Everything in the namespace, of every kind that the API server has, but what each has."""
    return _titles(kubectl, _kinds(kubectl, namespaced=True)) - _GIVEN


def cluster_wide(kubectl: Kubectl) -> Objects:
    """Everything that is in no namespace, but namespaces and volumes, which others come and go."""
    kinds = _kinds(kubectl, namespaced=False).split(",")
    left = [kind for kind in kinds if kind not in ("namespaces", "persistentvolumes")]
    return _titles(kubectl, ",".join(left))
