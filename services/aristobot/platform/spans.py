"""Making spans cheaply: the SDK's data model and interface, without its generality.

The SDK's tracer takes 14 us for a span (sampler objects, locks, bounded copies of everything) and
this one 5; spans were a third of what ingress spends on a webhook, and an alert has a dozen on its
way. A finished span is a `ReadableSpan`, so any SpanProcessor of the SDK can take it. Left out on
purpose: limits and cleaning of attributes, because all of them are written by us
(`contracts.trace_names`), and thread safety within one span. Not here: which spans there are, and
contexts (`telemetry.py`); encoding and shipping (`span_export.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import getrandbits
from time import time_ns
from traceback import format_exception

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.util.types import Attributes, AttributeValue

from aristobot.platform.logs import scrub

_SCOPE = InstrumentationScope("aristobot")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)
_UNSET = Status(StatusCode.UNSET)


class RecordingSpan(Span, ReadableSpan):
    """A span that is being recorded; what comes after its end is ignored."""

    def __init__(
        self,
        tracer: LeanTracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._own = self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes: dict[str, AttributeValue] = dict(attributes) if attributes else {}
        self._links: Sequence[Link] = links
        self._events: list[Event] = []
        self._status = _UNSET
        self._resource = tracer.resource
        self._instrumentation_scope = _SCOPE
        self._instrumentation_info = None
        self._end_time: int | None = None
        self._start_time = time_ns()

    def get_span_context(self) -> SpanContext:
        return self._own

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        if self._end_time is None:
            self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        if self._end_time is None:
            self._attributes.update(attributes)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        if self._end_time is None:
            self._events.append(Event(name, attributes=attributes, timestamp=timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self._end_time is None:
            self._links = (*self._links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        if self._end_time is None:
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if self._end_time is None:
            self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """As the conventions want it, but scrubbed: an error may repeat a webhook's path."""
        described = {
            "exception.type": type(exception).__qualname__,
            "exception.message": scrub(str(exception)),
            "exception.stacktrace": scrub("".join(format_exception(exception))),
        }
        self.add_event("exception", {**described, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None:
            self._end_time = time_ns() if end_time is None else end_time
            for processor in self._tracer.processors:
                processor.on_end(self)


class LeanTracer:
    """Starts spans of one service. `is_sampled` decides for roots; children follow their parent."""

    def __init__(self, resource: Resource, is_sampled: Callable[[str], bool]) -> None:
        self.resource = resource
        self.processors: list[SpanProcessor] = []
        self._is_sampled = is_sampled

    def start_span(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Attributes = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """Start a span below the one in `context` (None: the current one), else a new root."""
        parent: SpanContext | None = get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id, state = parent.trace_id, parent.trace_state
            is_sampled = bool(parent.trace_flags & TraceFlags.SAMPLED)
        else:
            parent, state = None, None
            trace_id = _random_id(128)
            is_sampled = self._is_sampled(name)
        flags = _SAMPLED if is_sampled else _NOT_SAMPLED
        own = SpanContext(trace_id, _random_id(64), False, flags, state)
        if not is_sampled:
            return NonRecordingSpan(own)
        return RecordingSpan(self, name, own, parent, kind, attributes, links)


def _random_id(bits: int) -> int:
    while True:
        number = getrandbits(bits)
        if number:  # all zeros means "no id"
            return number
