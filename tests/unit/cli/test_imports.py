"""What a service's process loads before it begins: with hundreds of pods it counts."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("aristobot.runner.service", {"sqlalchemy", "asyncpg", "pandas", "lightkube", "httpx"}),
        ("aristobot_operator.server", {"sqlalchemy", "asyncpg", "pandas"}),
    ],
)
def test_a_service_loads_its_own_part_only(module: str, unwanted: set[str]) -> None:
    code = f"import sys, aristobot.cli.app, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not unwanted & set(done.stdout.split())
