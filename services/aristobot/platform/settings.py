"""A service's settings: one frozen object from the environment, the same in a pod and locally.

Secrets come by environment variable or, where the variable's name ends in `_FILE`, from the file
it names. A missing one is refused at start with its name. `describe` is safe to log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aristobot.core.errors import Misconfigured

NATS_URL = "ARISTOBOT_NATS_URL"
NATS_CREDENTIALS = "ARISTOBOT_NATS_CREDENTIALS"
DATABASE_URL = "ARISTOBOT_DATABASE_URL"
LOG_LEVEL = "ARISTOBOT_LOG_LEVEL"
INSTANCE = "ARISTOBOT_INSTANCE"
ADMIN_PORT = "ARISTOBOT_ADMIN_PORT"
#: Where the admin face listens: a laptop shows it to itself alone, a pod to the kubelet.
ADMIN_HOST = "ARISTOBOT_ADMIN_HOST"
#: OpenTelemetry's own variable, so that any deployment guide for it holds here too.
OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def optional(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The variable, or the content of the file that `<name>_FILE` names."""
    value = environment.get(name)
    path = environment.get(f"{name}_FILE")
    if value is None and path is not None:
        try:
            value = Path(path).read_text().strip()
        except OSError as error:
            raise Misconfigured(f"{name}_FILE: {path} can't be read: {error.strerror}") from error
    return value or None


def required(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Like `optional`, but raises `Misconfigured` when it is missing."""
    value = optional(name, environment)
    if value is None:
        raise Misconfigured(f"{name} is not set (nor {name}_FILE)")
    return value


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What every service needs. `nats_credentials`: a creds file; None: a server without users."""

    nats_url: str
    nats_credentials: str | None
    otlp_endpoint: str | None
    log_level: str
    instance: str | None
    admin_port: int | None
    admin_host: str
    database_url: str | None = field(repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> ServiceSettings:
        """Read the environment. Raises `Misconfigured` naming what is missing or wrong."""
        port = optional(ADMIN_PORT, environment)
        if port is not None and not port.isdigit():
            raise Misconfigured(f"{ADMIN_PORT} is not a port number: {port!r}")
        return cls(
            nats_url=required(NATS_URL, environment),
            nats_credentials=optional(NATS_CREDENTIALS, environment),
            otlp_endpoint=optional(OTLP_ENDPOINT, environment),
            log_level=optional(LOG_LEVEL, environment) or "INFO",
            instance=optional(INSTANCE, environment),
            admin_port=int(port) if port else None,
            admin_host=optional(ADMIN_HOST, environment) or "127.0.0.1",
            database_url=optional(DATABASE_URL, environment),
        )

    def require_database(self) -> str:
        if self.database_url is None:
            raise Misconfigured(f"{DATABASE_URL} is not set (nor {DATABASE_URL}_FILE)")
        return self.database_url
