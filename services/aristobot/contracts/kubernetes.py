"""Names that the chart, the operator, the pods and the command line have to agree on.

Labels, annotations, ports, mount points, and the names of what the operator makes. A chart can't
import them, so a test renders the chart and compares. Deliberately not here: building objects
(`aristobot_operator.builders`), and what runs in a pod (`contracts.workload`).
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "trading.aristobot.io"
VERSION: Final = "v1alpha1"

APP: Final = "aristobot"
#: Kubernetes' recommended labels: https://kubernetes.io/docs/reference/labels-annotations-taints/
NAME_LABEL: Final = "app.kubernetes.io/name"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
#: `managed-by` of what the operator makes, and its field manager.
OPERATOR: Final = "aristobot-operator"
BROKER_LABEL: Final = f"{GROUP}/broker"
ACTIVE_STRATEGY_LABEL: Final = f"{GROUP}/active-strategy"

#: On a resource: what the operator was told to leave alone (`disabled`), for repairs by hand.
RECONCILE_ANNOTATION: Final = f"{GROUP}/reconcile"
#: On a child: digest of what was applied, so that drift is noticed without comparing fields.
DIGEST_ANNOTATION: Final = f"{GROUP}/digest"
#: On a pod template: digest of the secrets it reads, so that a changed one rolls the pod.
SECRETS_ANNOTATION: Final = f"{GROUP}/secrets"
#: Keeps an ActiveStrategy until its orders or positions are dealt with (`spec.onDelete`).
WIND_DOWN_FINALIZER: Final = f"{GROUP}/wind-down"
#: Keeps a Broker while an ActiveStrategy that has to wind down needs its gateway.
IN_USE_FINALIZER: Final = f"{GROUP}/in-use"

INGRESS_PORT: Final = 8888
API_PORT: Final = 8889
SIMULATOR_PORT: Final = 8890
#: /healthz, /readyz and /metrics of every service without a face of its own.
ADMIN_PORT: Final = 9090
NATS_PORT: Final = 4222
#: /healthz and figures of the embedded NATS server.
NATS_MONITOR_PORT: Final = 8222
POSTGRES_PORT: Final = 5432

CREDENTIALS_MOUNT: Final = "/etc/aristobot/nats"
CREDENTIALS_KEY: Final = "nats.creds"
DATABASE_URL_KEY: Final = "database-url"
#: `password` and `superuser-password` of the embedded PostgreSQL.
PASSWORDS_MOUNT: Final = "/etc/aristobot/postgres"


def gateway_name(broker: str) -> str:
    """Of a broker's Deployment, its Secret of credentials, and its pods' prefix."""
    return f"gateway-{broker}"


def runner_name(active_strategy: str) -> str:
    """Of an active strategy's Deployment, its Secret of credentials, and its pods' prefix."""
    return f"runner-{active_strategy}"


def role_secret(release: str, role: str) -> str:
    """The Secret with the NATS credentials of a fixed role, made by the operator at its start."""
    return f"{release}-nats-{role}"


def nats_trust_secret(release: str) -> str:
    """The Secret of the NATS signing keys (operator, system and account seeds)."""
    return f"{release}-nats-trust"


def nats_server_secret(release: str) -> str:
    """The Secret whose entry `auth.conf` makes a NATS server trust our account."""
    return f"{release}-nats-server"


def postgres_secret(release: str) -> str:
    """The Secret of the embedded PostgreSQL: `password`, `superuser-password`, `database-url`."""
    return f"{release}-postgres"
