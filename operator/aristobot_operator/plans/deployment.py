"""What a child Deployment and its pods say, as the condition `Deployed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aristobot_operator.cache import is_deleting, name_of
from aristobot_operator.conditions import State, bad, good
from aristobot_operator.kube import Object
from aristobot_operator.reasons import Condition, Reason

_LONGEST_LAST_WORDS = 300
#: A container that waits for one of these comes up by itself.
_ORDINARY_WAITS = ("ContainerCreating", "PodInitializing")


def deployed(deployment: Object | None, pods: Iterable[Object], *, replicas: int) -> State:
    """`replicas`: how many there should be, 0 or 1."""
    pods = list(pods)
    if deployment is None and replicas == 0:
        return _resting(bool(pods))
    if deployment is None:
        return bad(Condition.DEPLOYED, Reason.DEPLOYING, "its Deployment is being made")
    status: dict[str, Any] = deployment.get("status") or {}
    is_current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    if deployment["spec"].get("replicas") != replicas or not is_current:
        return bad(Condition.DEPLOYED, Reason.DEPLOYING, "its Deployment is being changed")
    if replicas == 0:
        return _resting(bool(status.get("replicas", 0) or pods))
    if status.get("updatedReplicas", 0) >= 1 and status.get("availableReplicas", 0) >= 1:
        return good(Condition.DEPLOYED, Reason.DEPLOYED, "its pod is ready")
    trouble = next(iter(_troubles(pods)), None)
    if trouble is not None:
        return bad(Condition.DEPLOYED, Reason.POD_FAILING, trouble)
    for each in status.get("conditions") or ():
        if each.get("type") == "ReplicaFailure" and each.get("status") == "True":
            text = f"Kubernetes makes no pod of it: {each.get('message', '')}"
            return bad(Condition.DEPLOYED, Reason.DENIED, text)
    return bad(Condition.DEPLOYED, Reason.DEPLOYING, "its pod is starting")


def _resting(has_pod: bool) -> State:
    if has_pod:
        return bad(Condition.DEPLOYED, Reason.DEPLOYING, "its pod is ending")
    return good(Condition.DEPLOYED, Reason.SCALED_TO_ZERO, "it has no pod, as wanted")


def _troubles(pods: Iterable[Object]) -> Iterator[str]:
    """Why pods don't come up, in Kubernetes' words and the container's last ones."""
    for pod in pods:
        if is_deleting(pod):
            continue
        status: dict[str, Any] = pod.get("status") or {}
        for each in status.get("conditions") or ():
            if each.get("type") == "PodScheduled" and each.get("status") == "False":
                yield f"pod {name_of(pod)} finds no node: {each.get('message', '')}"
        for container in status.get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason")
            ended = (container.get("lastState") or {}).get("terminated") or {}
            if reason is None or reason in _ORDINARY_WAITS:
                continue
            said = (ended.get("message") or waiting.get("message") or "").strip()
            last = said.splitlines()[-1][:_LONGEST_LAST_WORDS] if said else ""
            yield f"pod {name_of(pod)}: {reason}" + (f": {last}" if last else "")


def terminating(others: Iterable[str]) -> State:
    """`Ready` of a deleted resource that only the finalizers of others keep."""
    text = f"it is deleted, and goes when these finalizers are taken off: {', '.join(others)}"
    return bad(Condition.READY, Reason.TERMINATING, text)
