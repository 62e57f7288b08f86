"""Turns a resource into what has to run, without saying where: one pure function per kind.

The embedded platform makes a process of a `Workload`, the operator a Deployment. Arguments,
environment and secret references are the same in both, so a pod and a local process cannot
drift apart. Secrets are references here; the executor resolves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aristobot.contracts.resources import Broker, Environment
from aristobot.contracts.streams import BrokerKey

API_KEY_VARIABLE = "ARISTOBOT_API_KEY"
API_SECRET_VARIABLE = "ARISTOBOT_API_SECRET"
#: Name of the Secret that holds an owner's own webhook `token`.
OWNER_WEBHOOK_SECRET = "webhook"


@dataclass(frozen=True, slots=True)
class SecretKeyRef:
    """One entry of one Secret of the resource's owner."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class Workload:
    """`arguments` follow the `aristobot` command; `secrets` become environment variables."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretKeyRef] = field(default_factory=dict)


def credentials_secret(broker: Broker) -> str:
    """Name of the Secret with `apiKey` and `apiSecret`; a simulated account gets its own."""
    reference = broker.spec.credentials_secret_ref
    return reference.name if reference else f"{broker.metadata.name}-simulator"


def webhook_secret(broker: str) -> str:
    """Name of the Secret that holds a broker's webhook `token`."""
    return f"{broker}-webhook"


def gateway_workload(owner: str, broker: Broker) -> Workload:
    """The one gateway of a broker."""
    key = BrokerKey(owner, broker.metadata.name)
    secret = credentials_secret(broker)
    simulated = broker.spec.environment is Environment.SIMULATOR
    return Workload(
        name=f"gateway-{key}",
        arguments=("gateway", "--broker", str(key)),
        environment={
            "ARISTOBOT_EXCHANGE": broker.spec.exchange.value,
            "ARISTOBOT_EXCHANGE_ENVIRONMENT": "simulator"
            if simulated
            else broker.spec.environment.value,
        },
        secrets={
            API_KEY_VARIABLE: SecretKeyRef(secret, "apiKey"),
            API_SECRET_VARIABLE: SecretKeyRef(secret, "apiSecret"),
        },
    )


def runner_workload(owner: str, active_strategy: str) -> Workload:
    """The one runner of an active strategy, where each has its own (on Kubernetes)."""
    key = f"{owner}.{active_strategy}"
    return Workload(name=f"runner-{key}", arguments=("runner", "--strategy", key))
