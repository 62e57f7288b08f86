"""Where the embedded platform keeps things and listens: folders, ports, and the address file.

The address file (mode 0600) tells the command line how to reach a running platform. All ports
follow from `--port-base`, so two platforms side by side need only another base and folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aristobot.core.errors import Misconfigured
from aristobot.platform.nats_auth import write_private

DATA_VARIABLE = "ARISTOBOT_DATA"
DEFAULT_PORT_BASE = 8888

_FIRST_HEARTBEAT_OFFSET = 8
_FIRST_GATEWAY_OFFSET = 20
#: Admin ports between the two.
MOST_HEARTBEATS = _FIRST_GATEWAY_OFFSET - _FIRST_HEARTBEAT_OFFSET


def default_data() -> Path:
    return Path(os.environ.get(DATA_VARIABLE) or Path.home() / ".aristobot")


@dataclass(frozen=True, slots=True)
class Ports:
    base: int

    @property
    def ingress(self) -> int:
        return self.base

    @property
    def api(self) -> int:
        return self.base + 1

    @property
    def simulator(self) -> int:
        return self.base + 2

    @property
    def nats(self) -> int:
        return self.base + 3

    @property
    def postgres(self) -> int:
        return self.base + 4

    @property
    def engine_admin(self) -> int:
        return self.base + 5

    @property
    def runner_admin(self) -> int:
        return self.base + 6

    def heartbeat_admin(self, slot: int) -> int:
        """`slot` counts the heartbeats of all markets from 0, below `MOST_HEARTBEATS`."""
        return self.base + _FIRST_HEARTBEAT_OFFSET + slot

    def gateway_admin(self, slot: int) -> int:
        """`slot` counts the gateways from 0."""
        return self.base + _FIRST_GATEWAY_OFFSET + slot


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything under the data folder, by purpose."""

    data: Path

    @classmethod
    def at(cls, data: Path) -> Layout:
        return cls(data.expanduser().absolute())

    @property
    def nats(self) -> Path:
        return self.data / "nats"

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def simulator(self) -> Path:
        return self.data / "simulator"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def secret_keys(self) -> Path:
        return self.secrets / "fernet.keys"

    @property
    def nats_trust(self) -> Path:
        return self.secrets / "nats"

    @property
    def credentials(self) -> Path:
        return self.data / "credentials"

    @property
    def address_file(self) -> Path:
        return self.data / "run" / "address"

    @property
    def parts_file(self) -> Path:
        return self.data / "run" / "parts"

    def log(self, part: str) -> Path:
        return self.data / "logs" / f"{part}.log"


@dataclass(frozen=True, slots=True)
class Address:
    """How the command line reaches a running platform. Holds a password: mind where it goes."""

    pid: int
    nats_url: str
    nats_credentials: str | None
    webhook_url: str
    api_url: str
    simulator_url: str
    database_url: str = field(repr=False)
    admin_urls: Mapping[str, str] = field(default_factory=dict)

    def write(self, layout: Layout) -> None:
        write_private(layout.address_file, json.dumps(asdict(self)))

    @classmethod
    def read(cls, layout: Layout) -> Address:
        """Raises `Misconfigured` when no platform was ever started on this folder."""
        try:
            return cls(**json.loads(layout.address_file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise Misconfigured(
                f"no platform runs on {layout.data}: start it with `aristobot up`, or name its "
                "folder with --data"
            ) from None
        except (ValueError, TypeError) as error:
            raise Misconfigured(
                f"{layout.address_file} can't be read: start the platform again with `aristobot up`"
            ) from error
