"""Section 2: from posting an alert to the exchange having taken its order, at 50 alerts a second.

Measured from outside, on one machine's clock: from the moment the request is written to the socket
to `accepted_at`, which the gateway notes once it has the exchange's answer. All parts run, with the
simulator as the exchange; alerts come at a fixed pace whether answered or not, so waiting counts.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.e2e.brokers import broker, wait_until_ready
from tests.harness.platform import Platform, running_platform

from benchmarks import alerts
from benchmarks.report import Section, percentile

PER_SECOND = 50.0
_BROKERS = ("demo", "bench-b", "bench-c", "bench-d")
_WARM_UP = 60


def run(folder: Path, *, quick: bool) -> Section:
    count = int(PER_SECOND * (6 if quick else 20))
    section = Section(f"Webhook to order accepted, {PER_SECOND:g} alerts a second, {count} alerts")
    with running_platform(folder / "data") as platform:
        one = _BROKERS[:1]
        wait_until_ready(platform, *one)
        # Unhurried first: imports, prepared statements and connections are made once.
        _measure(platform, one, _WARM_UP, 20.0, 0)
        _add(section, "1 broker", *_measure(platform, one, count, PER_SECOND, _WARM_UP))
        platform.apply("\n---\n".join(broker(name) for name in _BROKERS[1:]))
        wait_until_ready(platform, *_BROKERS)
        _measure(platform, _BROKERS, _WARM_UP, 20.0, 10_000)
        result = _measure(platform, _BROKERS, count, PER_SECOND, 10_000 + _WARM_UP)
        _add(section, f"{len(_BROKERS)} brokers", *result)
    return section


def _measure(
    platform: Platform, brokers: tuple[str, ...], count: int, per_second: float, first: int
) -> tuple[alerts.Sent, list[float], int]:
    since = alerts.now()
    sent = alerts.send(platform, brokers, count=count, per_second=per_second, first=first)
    alerts.wait_processed(platform, sent, since, seconds=60 + count / 10)
    time.sleep(0.5)
    took = [
        1000 * (order["accepted_at"].timestamp() - sent.posted_at[order["source_id"]])
        for order in alerts.orders(platform, since)
        if order["accepted_at"] is not None and order["source_id"] in sent.posted_at
    ]
    return sent, took, count - len(took)


def _add(section: Section, name: str, sent: alerts.Sent, took: list[float], without: int) -> None:
    late = f"sender late by p99 {percentile(sent.late_ms, 0.99):.1f} ms"
    section.add(f"{name} p50", percentile(took, 0.50), "ms", at_most=15, note=late)
    section.add(f"{name} p99", percentile(took, 0.99), "ms", at_most=50)
    section.add(f"{name} max", max(took), "ms")
    section.add(f"{name} answer p50", percentile(sent.answered_ms, 0.50), "ms", note="the 200")
    section.add(f"{name} answer p99", percentile(sent.answered_ms, 0.99), "ms", at_most=100)
    if without or sent.refused:
        section.notes.append(f"{name}: {without} without an order, {sent.refused} not answered 200")
    section.raw[name] = {
        "to_accepted_ms": took,
        "answer_ms": sent.answered_ms,
        "mean_ms": statistics.fmean(took),
    }
