"""Metric names and labels keep the house's rules; exemplars name the trace."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from aristobot.platform import metrics, telemetry
from aristobot_operator import metrics as operator_metrics

BOUNDED = {
    *("outcome", "status", "broker", "reason", "stream", "consumer", "le"),
    *("kind", "market", "timeframe", "is_late"),
}


def test_names_and_labels() -> None:
    own = [m for m in metrics.REGISTRY.collect() if m.name.startswith("aristobot_")]
    assert len(own) >= 9
    # They stand on the same registry.
    assert operator_metrics.PASSES._name in {metric.name for metric in own}
    for metric in own:
        assert re.fullmatch(r"aristobot(_[a-z]+)+", metric.name)
        assert metric.documentation
        for sample in metric.samples:
            assert set(sample.labels) <= BOUNDED


def test_the_promise_is_a_bucket() -> None:
    metrics.WEBHOOK_ACCEPT_SECONDS.labels(status=200).observe(0.01)
    (family,) = [
        m for m in metrics.REGISTRY.collect() if m.name == "aristobot_webhook_accept_seconds"
    ]
    assert "0.1" in {sample.labels.get("le") for sample in family.samples}


def test_exemplar_only_for_a_sampled_span() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("x_seconds", "x", registry=registry)
    metrics.observe_with_trace(histogram, 0.1)
    with telemetry.start_root_span("probe"):
        metrics.observe_with_trace(histogram, 0.1)
    assert b"trace_id" not in generate_latest(registry)
    with telemetry.receive_span(None):
        trace_id = telemetry.current_trace_id()
        metrics.observe_with_trace(histogram, 0.1)
    assert f'trace_id="{trace_id}"'.encode() in generate_latest(registry)
