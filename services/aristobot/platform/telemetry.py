"""Tracing: the spans of the house, and the one place that touches the context propagator.

A webhook gets a new root at ingress (an outsider's `traceparent` is only linked, or a stranger
could switch our tracing off), and every hop over NATS is a producer and a consumer span, so one
trace id runs from the alert to the exchange. Work resumed later (a fill, a repair) is a new root
linked to what caused it. Without `setup_telemetry` spans and ids are real but go nowhere. Never
open a span per tick. Not here: shipping spans (`span_export.py`), names (`contracts.trace_names`).

Every function that opens a span returns a context manager; the span is current inside, and the
context is always given back, so nothing leaks into the next message.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextvars import Token
from importlib.metadata import version
from types import TracebackType
from typing import Generic, TypeVar

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from aristobot.contracts import trace_names as names
from aristobot.platform.logs import scrub
from aristobot.platform.span_export import Collector, SpanExport
from aristobot.platform.spans import LeanTracer

__all__ = [
    "Span",
    "SpanKind",
    "Telemetry",
    "annotate",
    "client_span",
    "consumer_span",
    "current_trace_id",
    "current_traceparent",
    "internal_span",
    "linked_root",
    "mark_failed",
    "producer_span",
    "receive_span",
    "record_event",
    "request_span",
    "resumed_span",
    "setup_telemetry",
    "start_root_span",
]

TRACEPARENT = "traceparent"
_propagator = TraceContextTextMapPropagator()
_NO_CONTEXT = Context()
_Entered = TypeVar("_Entered")


def _is_sampled(name: str) -> bool:
    """Decides for roots: everything, except what happens all the time and means nothing alone."""
    return name.partition(" ")[0] not in names.NEVER_SAMPLED


class Telemetry:
    """What `setup_telemetry` started; its owner shuts it down as the last step of stopping."""

    def __init__(self, tracer: LeanTracer, export: SpanExport | None) -> None:
        self._tracer = tracer
        self._export = export

    def add_processor(self, processor: SpanProcessor) -> None:
        """Let tests and tools see every finished span."""
        self._tracer.processors.append(processor)

    def flush(self, timeout_seconds: float = 2.0) -> bool:
        """Block until the collector has what was finished so far; False if time ran out."""
        return self._export is None or self._export.force_flush(int(timeout_seconds * 1000))

    def shutdown(self, timeout_seconds: float = 1.5) -> None:
        """Deliver or drop what is queued. Blocks at most `timeout_seconds`."""
        if self._export is not None:
            self._export.shutdown(timeout_seconds)


_tracer = LeanTracer(Resource({}), _is_sampled)


def setup_telemetry(
    service: str,
    *,
    otlp_endpoint: str | None = None,
    otlp_headers: Mapping[str, str] | None = None,
    instance_id: str | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Telemetry:
    """Make the spans of this process belong to `service` and go to `otlp_endpoint`, if given.

    The endpoint is OTLP/HTTP's base URL (`/v1/traces` is added). Raises Misconfigured when it
    isn't one. A collector that is away is no error.
    """
    global _tracer  # a process has one service, and span functions are called from everywhere
    resource = Resource.create(
        {
            names.SERVICE_NAME: service,
            names.SERVICE_VERSION: version("aristobot"),
            names.SERVICE_NAMESPACE: "aristobot",
            names.SERVICE_INSTANCE: instance_id or f"{os.uname().nodename}-{os.getpid()}",
            **(attributes or {}),
        }
    )
    tracer = LeanTracer(resource, _is_sampled)
    export = None
    if otlp_endpoint:
        export = SpanExport(Collector(otlp_endpoint, otlp_headers or {}))
        tracer.processors.append(export)
    _tracer = tracer
    return Telemetry(tracer, export)


class _Open(Generic[_Entered]):
    """One span, current between enter and exit. A class, since a generator costs 2 us more."""

    __slots__ = ("_entered", "_span", "_token", "context")

    def __init__(self, span: Span, context: Context | None, entered: _Entered) -> None:
        self._span = span
        self.context = set_span_in_context(span, context)
        self._entered = entered

    def __enter__(self) -> _Entered:
        self._token: Token[Context] = attach(self.context)
        return self._entered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        detach(self._token)
        # Cancellation and exit are not failures of the work; their spans end without a verdict.
        if isinstance(error, Exception):
            _record_failure(self._span, error)
        self._span.end()


def _record_failure(span: Span, error: Exception) -> None:
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {scrub(str(error))}"))


def _lower_traceparent(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The trace headers of `headers` in lower case; nats-py and other publishers keep any case."""
    if not headers:
        return {}
    if TRACEPARENT in headers:
        return {TRACEPARENT: headers[TRACEPARENT]}
    for key, value in headers.items():
        if key.lower() == TRACEPARENT:
            return {TRACEPARENT: value}
    return {}


def _remote(headers: Mapping[str, str] | None) -> Context:
    """The sender's context, or an empty one when its header is missing or malformed."""
    return _propagator.extract(_lower_traceparent(headers), context=_NO_CONTEXT)


def _links(carriers: Iterable[Mapping[str, str]]) -> list[Link]:
    contexts = (get_current_span(_remote(carrier)).get_span_context() for carrier in carriers)
    return [Link(context) for context in contexts if context.is_valid]


_Fields = AttributeValue | None


def _attributes(
    given: Mapping[str, AttributeValue] | None, fields: Mapping[str, _Fields]
) -> dict[str, AttributeValue]:
    """`given`, and `fields` under their full names; a field that is None is left out."""
    merged = dict(given) if given else {}
    for field, value in fields.items():
        if value is not None:
            merged[names.ATTRIBUTE_OF[field]] = value
    return merged


def start_root_span(
    name: str,
    kind: SpanKind = SpanKind.SERVER,
    attributes: Mapping[str, AttributeValue] | None = None,
    incoming: Mapping[str, str] | None = None,
    **fields: _Fields,
) -> _Open[Span]:
    """Begin a new trace; a context in `incoming` (an outsider's headers) is linked, not obeyed.

    `fields` of this and the functions below: `names.ATTRIBUTE_OF`.
    """
    links = _links((incoming,)) if incoming else ()
    span = _tracer.start_span(name, _NO_CONTEXT, kind, _attributes(attributes, fields), links)
    return _Open(span, None, span)


def receive_span(traceparent: str | None, **fields: _Fields) -> _Open[Span]:
    """Begin the trace of one webhook request; the sender's `traceparent` is only linked."""
    incoming = {TRACEPARENT: traceparent} if traceparent else None
    return start_root_span(
        names.RECEIVE_WEBHOOK, SpanKind.SERVER, names.WEBHOOK_REQUEST, incoming, **fields
    )


def linked_root(
    name: str,
    traceparents: Iterable[str],
    attributes: Mapping[str, AttributeValue] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    **fields: _Fields,
) -> _Open[Span]:
    """Begin a new trace for work resumed later, linked to the stored contexts that caused it."""
    links = _links({TRACEPARENT: traceparent} for traceparent in traceparents)
    span = _tracer.start_span(name, _NO_CONTEXT, kind, _attributes(attributes, fields), links)
    return _Open(span, None, span)


def resumed_span(
    name: str,
    traceparent: str | None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> _Open[Span]:
    """Continue a stored trace: what the exchange says later of an order belongs to its journey.

    The conventions would link; here the user's question is "what became of this alert", and one
    trace answers it. Without a stored context it is a new root.
    """
    context = _remote({TRACEPARENT: traceparent} if traceparent else None)
    span = _tracer.start_span(name, context, SpanKind.INTERNAL, attributes)
    return _Open(span, context, span)


def producer_span(
    destination: str,
    headers: Mapping[str, str] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: SpanKind = SpanKind.PRODUCER,
    **fields: _Fields,
) -> _Open[dict[str, str]]:
    """Open `send <destination>`; yields a copy of `headers` with this span's `traceparent`.

    `destination` is a subject template of `trace_names`. Publish inside the `with` block.
    """
    described = _attributes(attributes, fields)
    described |= names.messaging(names.SEND, destination)
    span = _tracer.start_span(names.send_name(destination), None, kind, described)
    carried = dict(headers) if headers else {}
    carried[TRACEPARENT] = _traceparent(span.get_span_context())
    return _Open(span, None, carried)


def request_span(
    destination: str, headers: Mapping[str, str] | None = None, **fields: _Fields
) -> _Open[dict[str, str]]:
    """Like `producer_span`, for a request that waits for its reply."""
    return producer_span(destination, headers, None, kind=SpanKind.CLIENT, **fields)


def consumer_span(
    destination: str,
    headers: Mapping[str, str] | None,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: SpanKind = SpanKind.CONSUMER,
    **fields: _Fields,
) -> _Open[Span]:
    """Open `process <destination>` as a child of the message's sender, whatever is current.

    A missing or malformed `traceparent` gives a new root. A redelivered message's span is a
    sibling of the first one; say so with `attempt`. A request's server passes SpanKind.SERVER.
    """
    context = _remote(headers)
    described = _attributes(attributes, fields)
    described |= names.messaging(names.PROCESS, destination)
    span = _tracer.start_span(names.process_name(destination), context, kind, described)
    return _Open(span, context, span)


def client_span(
    name: str, attributes: Mapping[str, AttributeValue] | None = None, **fields: _Fields
) -> _Open[Span]:
    """Open a call to the database or an exchange; one span per attempt."""
    span = _tracer.start_span(name, None, SpanKind.CLIENT, _attributes(attributes, fields))
    return _Open(span, None, span)


def internal_span(
    name: str, attributes: Mapping[str, AttributeValue] | None = None, **fields: _Fields
) -> _Open[Span]:
    """Open a step within the service, such as a decision and its inputs."""
    span = _tracer.start_span(name, None, SpanKind.INTERNAL, _attributes(attributes, fields))
    return _Open(span, None, span)


def annotate(attributes: Mapping[str, AttributeValue] | None = None, **fields: _Fields) -> None:
    """Put attributes on the current span."""
    get_current_span().set_attributes(_attributes(attributes, fields))


def record_event(name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
    """Record a moment on the current span, such as `names.EVENT_ACK`."""
    get_current_span().add_event(name, attributes)


def mark_failed(reason: str) -> None:
    """Mark the current span as failed without an exception."""
    get_current_span().set_status(Status(StatusCode.ERROR, scrub(reason)))


def _traceparent(context: SpanContext) -> str:
    """W3C Trace Context, version 00: trace id, span id and flags. There is no trace state of ours
    or of others to carry: `_remote` takes none in."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _current() -> SpanContext:
    return get_current_span().get_span_context()


def current_trace_id() -> str:
    """The current trace's id, 32 hex digits; empty outside any span."""
    context = _current()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def current_traceparent() -> str:
    """What to store on a row so that later work can link to this span; empty outside any span."""
    context = _current()
    return _traceparent(context) if context.is_valid else ""
