"""The Deployments of gateways and runners.

One replica each and `Recreate`: two gateways would be two traders, and the lease in the database is
there for what Kubernetes can't promise (a node that is cut off). Pods are `restricted`: an ordinary
user, no capability, a read-only root, no token of the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    ADMIN_PORT,
    BROKER_LABEL,
    COMPONENT_LABEL,
    CREDENTIALS_KEY,
    CREDENTIALS_MOUNT,
    DATABASE_URL_KEY,
    SECRETS_ANNOTATION,
    gateway_name,
    runner_name,
)
from aristobot.contracts.resources import Broker, Environment
from aristobot.contracts.workload import Workload, gateway_workload, runner_workload
from aristobot.platform.settings import OTLP_ENDPOINT
from aristobot_operator.builders.objects import labels, owner_reference, with_digest
from aristobot_operator.cache import name_of, namespace_of
from aristobot_operator.kube import Object
from aristobot_operator.settings import OperatorSettings, PodSettings

#: The image's user (see the Dockerfile).
_USER: Final = 10001
_GRACE_SECONDS: Final = 30
#: What a runner's pod needs beside its strategy's own memory: the runner, the process that it forks
#: from, and what that shares with the strategy. `make bench-cluster` measured 95 (a working set of
#: 103, 8 of which the strategy's own); two thirds more are for what grows.
RUNNER_MEBIBYTES: Final = 160


def gateway_deployment(
    settings: OperatorSettings, found: Object, broker: Broker, secrets: str
) -> Object:
    """`secrets`: digest of the Secrets that the pod reads; another one rolls the pod."""
    owner = namespace_of(found)
    environment: dict[str, str] = {}
    if broker.spec.environment is Environment.SIMULATOR and settings.simulator_url:
        url = settings.simulator_url
        environment["ARISTOBOT_EXCHANGE_URL"] = url
        environment["ARISTOBOT_EXCHANGE_WS_URL"] = url.replace("http", "ws", 1) + "/ws-api/v3"
    name = gateway_name(name_of(found))
    return _deployment(
        settings,
        found,
        name,
        component="gateway",
        label={BROKER_LABEL: name_of(found)},
        workload=gateway_workload(owner, broker),
        pod=settings.gateway,
        secrets=secrets,
        environment=environment,
        more_environment=[
            {
                "name": "ARISTOBOT_DATABASE_URL",
                "valueFrom": {"secretKeyRef": {"name": name, "key": DATABASE_URL_KEY}},
            }
        ],
    )


def runner_deployment(
    settings: OperatorSettings,
    found: Object,
    record: ActiveStrategyRecord,
    *,
    replicas: int,
    secrets: str,
) -> Object:
    """The pod of one active strategy; its memory limit follows from the strategy's."""
    memory = f"{RUNNER_MEBIBYTES + record.memory_mebibytes}Mi"
    resources = dict(settings.runner.resources)
    resources["limits"] = {"memory": memory, **resources.get("limits", {})}
    return _deployment(
        settings,
        found,
        runner_name(record.name),
        component="runner",
        label={ACTIVE_STRATEGY_LABEL: record.name},
        workload=runner_workload(record.owner, record.name),
        pod=settings.runner.model_copy(update={"resources": resources}),
        secrets=secrets,
        replicas=replicas,
    )


def _deployment(
    settings: OperatorSettings,
    found: Object,
    name: str,
    *,
    component: str,
    label: Mapping[str, str],
    workload: Workload,
    pod: PodSettings,
    secrets: str,
    replicas: int = 1,
    environment: Mapping[str, str] | None = None,
    more_environment: list[dict[str, Any]] | None = None,
) -> Object:
    selected = {COMPONENT_LABEL: component, **label}
    all_labels = {**labels(settings, component), **label}
    container = {
        "name": component,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": list(workload.arguments),
        "env": [
            *_environment(settings, {**workload.environment, **(environment or {})}),
            *(
                {
                    "name": variable,
                    "valueFrom": {"secretKeyRef": {"name": reference.secret, "key": reference.key}},
                }
                for variable, reference in workload.secrets.items()
            ),
            *(more_environment or []),
            *pod.env,
        ],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        "resources": pod.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # A misconfigured service says why in its last line; the operator passes it on.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        # Importing takes seconds on a busy node; the other probes begin after that.
        "startupProbe": {**_probe("/healthz"), "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "timeoutSeconds": 3},
        "livenessProbe": {
            **_probe("/healthz"),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "volumeMounts": [
            {"name": "nats", "mountPath": CREDENTIALS_MOUNT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
            # Container runtimes mount memory there that may be written to; nothing of ours does.
            {"name": "no-shared-memory", "mountPath": "/dev/shm", "readOnly": True},
        ],
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "containers": [container],
        "volumes": [
            {
                "name": "nats",
                # The file is the group's to read and nobody's to write.
                "secret": {
                    "secretName": name,
                    "defaultMode": 0o440,
                    "items": [{"key": CREDENTIALS_KEY, "path": CREDENTIALS_KEY}],
                },
            },
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "no-shared-memory", "emptyDir": {"sizeLimit": "1Mi"}},
        ],
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = settings.image_pull_secrets
    if pod.priority_class_name:
        spec["priorityClassName"] = pod.priority_class_name
    if pod.node_selector:
        spec["nodeSelector"] = pod.node_selector
    if pod.tolerations:
        spec["tolerations"] = pod.tolerations
    return with_digest(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "namespace": namespace_of(found),
                "labels": all_labels,
                "ownerReferences": [owner_reference(found)],
            },
            "spec": {
                "replicas": replicas,
                "revisionHistoryLimit": 2,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": selected},
                "template": {
                    "metadata": {
                        "labels": all_labels,
                        "annotations": {SECRETS_ANNOTATION: secrets},
                    },
                    "spec": spec,
                },
            },
        }
    )


def _environment(
    settings: OperatorSettings, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    values = {
        "ARISTOBOT_NATS_URL": settings.nats_url,
        "ARISTOBOT_NATS_CREDENTIALS": f"{CREDENTIALS_MOUNT}/{CREDENTIALS_KEY}",
        "ARISTOBOT_ADMIN_HOST": "0.0.0.0",
        "ARISTOBOT_ADMIN_PORT": str(ADMIN_PORT),
        "ARISTOBOT_LOG_LEVEL": settings.log_level,
        "HOME": "/tmp",
        **environment,
    }
    if settings.otlp_endpoint:
        values[OTLP_ENDPOINT] = settings.otlp_endpoint
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        {
            "name": "ARISTOBOT_INSTANCE",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
        },
    ]


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "admin", "scheme": "HTTP"}}
