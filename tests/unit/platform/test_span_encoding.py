"""Our quick encoding means the same as the SDK's, for every span."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from aristobot.platform import telemetry
from aristobot.platform.span_export import _envelope, encode_batch, encode_span

_SCOPE = InstrumentationScope("aristobot")
_RESOURCE = Resource({"service.name": "test"})
_contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
)
_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
_values: st.SearchStrategy[Any] = (
    _texts
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.lists(_texts, max_size=3).map(tuple)
)


@st.composite
def _spans(draw: st.DrawFn) -> ReadableSpan:
    times = st.integers(0, 2**63)
    return ReadableSpan(
        name=draw(_texts),
        context=draw(_contexts),
        parent=draw(st.none() | _contexts),
        resource=_RESOURCE,
        attributes=draw(st.dictionaries(_texts.filter(bool), _values, max_size=5)),
        links=draw(st.lists(_contexts.map(Link), max_size=1)),
        kind=draw(st.sampled_from(SpanKind)),
        status=draw(
            st.just(Status())
            | st.just(Status(StatusCode.OK))
            | _texts.map(lambda text: Status(StatusCode.ERROR, text))
        ),
        start_time=draw(times),
        end_time=draw(times),
        instrumentation_scope=_SCOPE,
    )


@given(st.lists(_spans(), min_size=1, max_size=4))
def test_same_as_the_sdk(spans: list[ReadableSpan]) -> None:
    body = encode_batch(_envelope(spans[0]), [encode_span(span) for span in spans])
    assert ExportTraceServiceRequest.FromString(body) == encode_spans(spans)


def test_values_that_are_equal_but_not_the_same_stay_apart() -> None:
    kinds = []
    for value in (True, 1, 1.0):
        span = ReadableSpan(
            "x",
            SpanContext(1, 1, False),
            resource=_RESOURCE,
            attributes={"a": value},
            start_time=1,
            end_time=1,
        )
        request = ExportTraceServiceRequest.FromString(
            encode_batch((b"", b""), [encode_span(span)])
        )
        encoded = request.resource_spans[0].scope_spans[0].spans[0]
        kinds.append(encoded.attributes[0].value.WhichOneof("value"))
    assert kinds == ["bool_value", "int_value", "double_value"]


def test_a_lone_surrogate_does_no_harm() -> None:
    with telemetry.internal_span("x", reason="\ud800") as span:
        pass
    assert encode_span(span)  # type: ignore[arg-type]
