"""Hypothesis for a shared machine: what counts is the result and not how long an example took."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# In a fresh clone the first text example waits for hypothesis's table of Unicode (1-2 s).
# On CI the same examples each time, so that a red run is the change's; elsewhere new ones.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("shared")
