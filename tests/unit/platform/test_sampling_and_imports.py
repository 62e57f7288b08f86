"""Which roots are sampled, and who may touch the context propagator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import aristobot
from aristobot.contracts import trace_names as names
from aristobot.platform import telemetry
from aristobot.platform.telemetry import SpanKind


@pytest.mark.parametrize(
    ("name", "is_sampled"),
    [
        (names.RECEIVE_WEBHOOK, True),
        (names.send_name(names.ORDERS_COMMANDS), True),
        (names.process_name(names.ORDERS_EVENTS), True),
        (names.APPLY_FILL, True),
        (names.RESOLVE_UNKNOWN, True),
        ("probe", False),
        ("probe exchange clock", False),
        ("tick", False),
        ("tick BTCUSDT", False),
        ("heartbeat", False),
        ("resync balances", False),
        ("ticket", True),
    ],
)
def test_root_sampling(name: str, is_sampled: bool) -> None:
    with telemetry.start_root_span(name, SpanKind.INTERNAL) as root:
        assert root.get_span_context().trace_flags.sampled is is_sampled
        with telemetry.internal_span(names.DECIDE) as child:
            assert child.get_span_context().trace_flags.sampled is is_sampled


def test_an_outsider_cannot_switch_a_trace_off() -> None:
    off = f"00-{'a' * 32}-{'b' * 16}-00"
    with telemetry.receive_span(off) as span:
        assert span.get_span_context().trace_flags.sampled
        assert telemetry.current_trace_id() != "a" * 32


def test_only_telemetry_touches_the_propagator() -> None:
    root = Path(aristobot.__file__).parent
    pattern = re.compile(
        r"opentelemetry\S* import \S*propagat|opentelemetry\S*propagat|TextMapPropagator"
    )
    users = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if pattern.search(file.read_text())
    }
    assert users == {"platform/telemetry.py"}


def test_every_field_name_has_an_attribute_of_ours() -> None:
    known = {
        value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)
    }
    assert set(names.ATTRIBUTE_OF.values()) <= known
    assert set(names.KEY_ATTRIBUTES) <= known
