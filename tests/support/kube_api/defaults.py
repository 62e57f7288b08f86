"""What the API server writes into a Deployment where its author left it out.

So that whoever compares what it applied with what it reads back meets here what it meets on a
cluster. Taken from what Kubernetes 1.35 stored, for the fields that Aristobot's children use.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def fill_deployment(obj: Object) -> None:
    """In place; does nothing to what is too wrong to be stored."""
    spec = obj.get("spec")
    pod = (spec or {}).get("template", {}).get("spec")
    if not isinstance(spec, dict) or not isinstance(pod, dict):
        return
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _fill(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _fill(spec["strategy"], rollingUpdate={})
        _fill(spec["strategy"]["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _fill(
        pod,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    for volume in pod.get("volumes", ()):
        for source in ("configMap", "secret", "projected"):
            if source in volume:
                _fill(volume[source], defaultMode=0o644)
    for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
        _fill_container(container)
    _drop_empty_lists(pod)


def _fill_container(container: Object) -> None:
    _, _, tag = str(container.get("image", "")).rpartition("/")[2].partition(":")
    _fill(
        container,
        imagePullPolicy="Always" if tag in ("", "latest") else "IfNotPresent",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", ()):
        _fill(port, protocol="TCP")
    for variable in container.get("env", ()):
        if field := variable.get("valueFrom", {}).get("fieldRef"):
            _fill(field, apiVersion="v1")
    for probe in (container[name] for name in _PROBES if name in container):
        _fill(probe, failureThreshold=3, periodSeconds=10, successThreshold=1, timeoutSeconds=1)
        if "httpGet" in probe:
            _fill(probe["httpGet"], path="/", scheme="HTTP")


def _fill(target: Object, **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)


def _drop_empty_lists(value: Any) -> None:
    """Go's `omitempty`: an empty list is not there."""
    if isinstance(value, dict):
        for name in [name for name, child in value.items() if child == []]:
            del value[name]
        for child in value.values():
            _drop_empty_lists(child)
    elif isinstance(value, list):
        for child in value:
            _drop_empty_lists(child)
