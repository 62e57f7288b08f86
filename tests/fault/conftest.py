"""One platform with breakable parts for all tests of this folder that don't bring their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.scene import Scene
from tests.harness.platform import Platform, free_port_base

ROOT = Path(__file__).parents[2]
_BROKER = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {{name: {name}}}
spec:
  exchange: binance
  environment: simulator
  tradingMode: webhook
  webhook: {{maxSignalAgeSeconds: {age}}}
  simulator: {{balances: {{USDT: {usdt}}}}}
"""


def broker_document(name: str, *, age: int = 0, usdt: int = 100_000) -> str:
    return _BROKER.format(name=name, age=age, usdt=usdt)


@pytest.fixture(scope="package")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that runs its services through `crashing_part.py`."""
    folder = tmp_path_factory.mktemp("fault")
    points = folder / "points"
    points.mkdir()
    platform = Platform(
        folder / "data",
        free_port_base(),
        environment={
            "CRASH_POINTS": str(points),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        },
        module="tests.fault.crashing_platform",
    )
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="package")
def demo(breakable: Platform) -> Scene:
    return Scene(breakable, Path(breakable.environment["CRASH_POINTS"]), "demo")


@pytest.fixture
def scene(demo: Scene) -> Iterator[Scene]:
    """The demo broker, with no fault and no strike left over from the test before."""
    yield demo
    for armed in demo.crash_points.iterdir():
        armed.unlink()
    demo.clear_faults()
    demo.let_go_on()
