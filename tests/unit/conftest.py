"""Hypothesis for a shared machine: what counts is the result and not how long an example took."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# In a fresh clone the first text example waits for hypothesis's table of Unicode (1-2 s).
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
