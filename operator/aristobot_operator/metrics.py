"""The operator's own metrics, on the platform's registry. Labels are bounded: kinds, outcomes."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from aristobot.platform.metrics import REGISTRY

PASSES = Counter(
    "aristobot_operator_passes",
    "Passes over a resource, by kind and how they ended.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
PASS_SECONDS = Histogram(
    "aristobot_operator_pass_seconds",
    "How long a pass took.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    registry=REGISTRY,
)
QUEUED = Gauge("aristobot_operator_queued", "Resources that wait for a pass.", registry=REGISTRY)
LAST_SUCCESS = Gauge(
    "aristobot_operator_last_success_timestamp_seconds",
    "When a pass last succeeded.",
    registry=REGISTRY,
)
WATCH_AGREED = Gauge(
    "aristobot_operator_watch_agreed_timestamp_seconds",
    "When the watches were last found to have shown all that the API server has.",
    registry=REGISTRY,
)
IS_LEADER = Gauge(
    "aristobot_operator_is_leader", "1 for the replica that works.", registry=REGISTRY
)
