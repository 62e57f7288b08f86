"""Our spans are the SDK's in what they say: ids, parents, events, and an end that is one."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from aristobot.platform.spans import LeanTracer


@pytest.fixture
def finished() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(finished: InMemorySpanExporter) -> LeanTracer:
    tracer = LeanTracer(Resource({"service.name": "test"}), lambda name: name != "tick")
    tracer.processors.append(SimpleSpanProcessor(finished))
    return tracer


def _only(finished: InMemorySpanExporter) -> ReadableSpan:
    (span,) = finished.get_finished_spans()
    return span


def test_a_root_has_ids_of_its_own(tracer: LeanTracer, finished: InMemorySpanExporter) -> None:
    spans = [tracer.start_span("x", Context(), SpanKind.SERVER, {"a": 1}) for _ in range(100)]
    for span in spans:
        span.end()
    contexts = [span.get_span_context() for span in spans]
    assert len({context.trace_id for context in contexts}) == 100
    assert all(context.is_valid and context.trace_flags.sampled for context in contexts)
    assert {span.parent for span in finished.get_finished_spans()} == {None}


@pytest.mark.parametrize("flags", [TraceFlags.SAMPLED, TraceFlags.DEFAULT])
def test_a_child_follows_its_parent(tracer: LeanTracer, flags: int) -> None:
    parent = SpanContext(7, 8, True, TraceFlags(flags))
    child = tracer.start_span(
        "tick", set_span_in_context(NonRecordingSpan(parent), Context()), SpanKind.CLIENT
    )
    assert child.get_span_context().trace_id == 7
    assert child.get_span_context().trace_flags == flags
    assert child.is_recording() is (flags == TraceFlags.SAMPLED)


def test_what_comes_after_the_end_is_ignored(
    tracer: LeanTracer, finished: InMemorySpanExporter
) -> None:
    span = tracer.start_span("x", Context(), SpanKind.INTERNAL, {"a": 1})
    span.add_event("before", {"b": 2})
    span.end()
    span.end()
    span.set_attribute("a", 3)
    span.set_attributes({"a": 3})
    span.add_event("after")
    span.add_link(SpanContext(1, 1, False))
    span.update_name("y")
    span.set_status(StatusCode.ERROR, "late")
    found = _only(finished)
    assert (found.name, dict(found.attributes or {})) == ("x", {"a": 1})
    assert [event.name for event in found.events] == ["before"]
    assert (found.links, found.status.status_code) == ((), StatusCode.UNSET)
    assert found.start_time is not None
    assert found.end_time is not None
    assert found.end_time >= found.start_time


def test_the_callers_attributes_stay_the_callers(tracer: LeanTracer) -> None:
    given = {"a": 1}
    tracer.start_span("x", Context(), SpanKind.INTERNAL, given).set_attribute("b", 2)
    assert given == {"a": 1}


def test_an_exception_is_recorded_without_its_token(
    tracer: LeanTracer, finished: InMemorySpanExporter
) -> None:
    link = Link(SpanContext(5, 6, True))
    span = tracer.start_span("x", Context(), SpanKind.INTERNAL, None, [link])
    span.record_exception(ValueError("POST /webhook/s3cret failed"))
    span.end()
    found = _only(finished)
    assert "s3cret" not in str(found.events[0].attributes)
    assert "/webhook/***" in str(found.events[0].attributes)
    assert found.links == (link,)
