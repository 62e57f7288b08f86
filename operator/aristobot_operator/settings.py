"""The operator's settings: one file, rendered by the chart, checked whole at start.

Not here: what a resource asks for, and secrets (they are Kubernetes Secrets, named here at most).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from aristobot.core.errors import Misconfigured
from aristobot.platform.settings import LOG_LEVEL, NATS_URL, ServiceSettings

CONFIG_VARIABLE = "ARISTOBOT_OPERATOR_CONFIG"


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class SecretKey(_Model):
    """One entry of a Secret in the release's namespace."""

    name: str
    key: str


class EmbeddedPostgres(_Model):
    """The PostgreSQL that the chart runs, by its Service; the operator makes its passwords."""

    host: str


class PodSettings(_Model):
    """What the installer says of a kind of child pod; the fields are Kubernetes' own."""

    resources: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    env: list[dict[str, Any]] = Field(default_factory=list)


class OperatorSettings(_Model):
    """`release`: the prefix of the chart's objects. `owners`: namespaces whose resources count.

    `instance`: Helm's own name of the release, by which all that is made for it is labelled.
    `nats_replicas`: on how many of its servers NATS keeps each stream. `simulator_url` None: there
    is no simulator. `markets`: those that heartbeats follow.
    """

    release: str
    instance: str
    namespace: str
    owners: list[str] = Field(min_length=1)
    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: list[dict[str, str]] = Field(default_factory=list)
    nats_url: str
    nats_replicas: int = Field(default=1, ge=1, le=5)
    otlp_endpoint: str | None = None
    database_secret: SecretKey
    embedded_postgres: EmbeddedPostgres | None = None
    simulator_url: str | None = None
    markets: list[str] = Field(default_factory=list)
    gateway: PodSettings = PodSettings()
    runner: PodSettings = PodSettings()
    log_level: str = "INFO"
    workers: int = Field(default=8, ge=1, le=64)

    @property
    def namespaces(self) -> list[str]:
        """All that are watched: the owners', and the release's for the platform's secrets."""
        return sorted({*self.owners, self.namespace})


def service_settings(
    settings: OperatorSettings, environment: Mapping[str, str] = os.environ
) -> ServiceSettings:
    """What every service has from the environment; addresses come from the one file here."""
    given = {NATS_URL: settings.nats_url, LOG_LEVEL: settings.log_level, **environment}
    return ServiceSettings.read(given)


def read_settings(path: Path) -> OperatorSettings:
    """Raises `Misconfigured` naming each wrong field."""
    try:
        return OperatorSettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise Misconfigured(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = (
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise Misconfigured(f"{path}: {'; '.join(problems)}") from None
