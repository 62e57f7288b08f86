"""`aristobot up` whose ingress, engine and gateways run through `crashing_part.py`.

Everything else is the product's own: supervisor, executor, NATS, PostgreSQL, simulator.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from aristobot.cli import main
from aristobot.local import parts, supervisor
from aristobot.local.process import ProcessSpec

_LAUNCHER = Path(__file__).with_name("crashing_part.py")
_MAY_CRASH = ("ingress", "engine", "gateway-")
_original = parts.service


def _service(
    around: Any, name: str, arguments: tuple[str, ...], environment: Any, **options: Any
) -> ProcessSpec:
    spec = _original(around, name, arguments, environment, **options)
    if not name.startswith(_MAY_CRASH):
        return spec
    return dataclasses.replace(
        spec,
        argv=(sys.executable, str(_LAUNCHER), *arguments),
        environment={
            **spec.environment,
            "CRASH_POINTS": os.environ["CRASH_POINTS"],
            "CRASH_PART": name,
        },
    )


parts.service = _service
# Parts are killed here much more often than in real life; backing off is tested elsewhere.
supervisor.LONGEST_PAUSE_SECONDS = 0.2

if __name__ == "__main__":
    main()
