"""Waiting for what a cluster does, where nothing is measured by it.

Each look is a kubectl or several, on the processors that the cluster has to work on.
"""

from __future__ import annotations

from functools import partial

from tests.harness import platform

eventually = partial(platform.eventually, pause_seconds=0.5)
