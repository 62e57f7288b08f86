"""Ships finished spans to an OTLP/HTTP collector without ever standing in the way.

Ending a span encodes it into a bounded queue; one daemon thread posts what is there. A collector
that is slow, away or refusing costs nothing but spans, and those are counted.

Why not the SDK's BatchSpanProcessor and OTLPSpanExporter: encoding there takes 28 us of CPU per
span under the GIL, more than twice what creating one takes, and ingress makes two per request;
here it is 5 us. Encoding leans on two facts of protobuf: serialised messages may be concatenated,
and a repeated field may be given piecewise, so parts that repeat are serialised once. Spans with
events or links are rare and are encoded by the SDK. Not here: what a span is (`telemetry.py`).
"""

from __future__ import annotations

import logging
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError, Message
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from aristobot.core.errors import Misconfigured
from aristobot.platform.metrics import SPANS_DROPPED

_logger = logging.getLogger(__name__)

QUEUE_SPANS = 8192
BATCH_SPANS = 512
BATCH_BYTES = 1_000_000
SCHEDULE_SECONDS = 0.5
REQUEST_TIMEOUT_SECONDS = 2.0
#: How long one batch is offered to a collector that is away before the next one gets its turn.
OFFER_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 5.0

# The statuses that OTLP calls retryable (specification, "OTLP/HTTP Response").
_RETRYABLE = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}

_WIRE_KIND = {
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace_pb2.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace_pb2.Span.SPAN_KIND_CONSUMER,
}
_WIRE_STATUS = {
    StatusCode.UNSET: trace_pb2.Status.STATUS_CODE_UNSET,
    StatusCode.OK: trace_pb2.Status.STATUS_CODE_OK,
    StatusCode.ERROR: trace_pb2.Status.STATUS_CODE_ERROR,
}
# opentelemetry.proto.trace.v1.Span on the wire; a tag is (field number << 3) | wire type.
_IDS = struct.Struct(">2sQQ2sQ")  # 1 trace_id (16 bytes), 2 span_id (8 bytes)
_PARENT = struct.Struct(">2sQ")  # 4 parent_span_id (8 bytes)
_TIMES = struct.Struct("<cQcQ2sI")  # 7 start, 8 end (fixed64), 16 flags (fixed32)
_LOW_64 = (1 << 64) - 1
_HAS_IS_REMOTE = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_IS_REMOTE = trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def _serialized(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _field(tag: bytes, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    size = len(payload)
    if size < 0x80:
        return b"%b%c%b" % (tag, size, payload)
    varint = bytearray()
    while size >= 0x80:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    varint.append(size)
    return b"%b%b%b" % (tag, bytes(varint), payload)


@lru_cache(maxsize=256)
def _name_and_kind(name: str, kind: SpanKind) -> bytes:
    return _serialized(trace_pb2.Span(name=name, kind=_WIRE_KIND[kind]))


@lru_cache(maxsize=256)
def _status(code: StatusCode, message: str | None) -> bytes:
    return _serialized(
        trace_pb2.Span(status=trace_pb2.Status(code=_WIRE_STATUS[code], message=message or ""))
    )


@lru_cache(maxsize=2048, typed=True)  # typed: 1, 1.0 and True are equal and not the same
def _attribute(key: str, value: str | bool | int | float) -> bytes:
    """One attribute of a span. Raises TypeError or ValueError for what the SDK must encode."""
    if isinstance(value, str):
        text = _field(b"\x0a", value.encode(errors="replace"))
        return _field(b"\x4a", _field(b"\x0a", key.encode()) + _field(b"\x12", text))
    if isinstance(value, bool):
        encoded = AnyValue(bool_value=value)
    elif isinstance(value, int):
        encoded = AnyValue(int_value=value)
    elif isinstance(value, float):
        encoded = AnyValue(double_value=value)
    else:
        raise TypeError(f"{type(value).__name__} is left to the SDK")
    return _serialized(trace_pb2.Span(attributes=[KeyValue(key=key, value=encoded)]))


def encode_span(span: ReadableSpan) -> bytes:
    """Serialise one span, equal in meaning to what the SDK's encoder makes of it."""
    context, parent = span.get_span_context(), span.parent
    if context is None or context.trace_state or span.events or span.links:
        return _encode_by_sdk(span)
    if span.dropped_attributes or span.dropped_events or span.dropped_links:
        return _encode_by_sdk(span)
    flags = _HAS_IS_REMOTE | (_IS_REMOTE if parent and parent.is_remote else 0)
    trace_id = context.trace_id
    parts = [
        _IDS.pack(b"\x0a\x10", trace_id >> 64, trace_id & _LOW_64, b"\x12\x08", context.span_id),
        _name_and_kind(span.name, span.kind),
        _TIMES.pack(b"\x39", span.start_time, b"\x41", span.end_time, b"\x85\x01", flags),
        _status(span.status.status_code, span.status.description),
    ]
    if parent:
        parts.append(_PARENT.pack(b"\x22\x08", parent.span_id))
    try:
        # copy() reaches the plain dict beneath the SDK's read-only view of a locked mapping.
        for key, value in (span.attributes or {}).copy().items():  # type: ignore[attr-defined]
            parts.append(_attribute(key, value))
    except (TypeError, ValueError):
        return _encode_by_sdk(span)
    return b"".join(parts)


def _encode_by_sdk(span: ReadableSpan) -> bytes:
    request = encode_spans([span])
    return _serialized(request.resource_spans[0].scope_spans[0].spans[0])


def _envelope(span: ReadableSpan) -> tuple[bytes, bytes]:
    """Resource and scope of `span`, serialised without it."""
    resource_spans = encode_spans([span]).resource_spans[0]
    scope_spans = resource_spans.scope_spans[0]
    del scope_spans.spans[:]
    scope = _serialized(scope_spans)
    del resource_spans.scope_spans[:]
    return _serialized(resource_spans), scope


def encode_batch(envelope: tuple[bytes, bytes], encoded: Sequence[bytes]) -> bytes:
    """An ExportTraceServiceRequest of spans that share a resource and a scope."""
    resource, scope = envelope
    spans = b"".join([_field(b"\x12", span) for span in encoded])
    return _field(b"\x0a", resource + _field(b"\x12", scope + spans))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Following a redirect would turn the POST into a GET and a lost batch into a success."""

    def redirect_request(self, *_args: object) -> None:
        return None


class Collector:
    """Posts encoded batches to one OTLP/HTTP endpoint."""

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        parsed = urlsplit(endpoint)
        if parsed.scheme not in {"http", "https"} or not parsed.hostname:
            raise Misconfigured(
                "the OTLP endpoint can't be read; it looks like http://127.0.0.1:4318"
            )
        path = parsed.path.rstrip("/")
        self.address = f"{parsed.scheme}://{parsed.netloc.rpartition('@')[2]}"
        self._url = f"{self.address}{path if path.endswith('/v1/traces') else path + '/v1/traces'}"
        self._headers = {"Content-Type": "application/x-protobuf", **headers}
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if parsed.hostname in {"localhost", "127.0.0.1", "::1"}:
            # A proxy named in the environment is for the way out, not for this machine.
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def post(self, body: bytes, *, timeout_seconds: float) -> None:
        """Deliver one batch. Raises OSError or HTTPException when it wasn't."""
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        with self._opener.open(request, timeout=timeout_seconds) as response:
            answer = response.read(65_536)
        if answer:
            rejected = _rejected_spans(answer)
            if rejected:
                SPANS_DROPPED.labels("rejected").inc(rejected)


def _rejected_spans(answer: bytes) -> int:
    try:
        parsed = ExportTraceServiceResponse.FromString(answer)
    except DecodeError:
        return 0  # delivered all the same; some collectors answer JSON
    rejected: int = parsed.partial_success.rejected_spans
    return max(0, rejected)


class SpanExport(SpanProcessor):
    """The bounded queue and the thread that empties it. `shutdown` must be called."""

    def __init__(self, collector: Collector, *, queue_spans: int = QUEUE_SPANS) -> None:
        self._collector = collector
        # Encoded at once: 200 bytes in a queue are cheaper than a span, whose dozen objects the
        # garbage collector would visit again and again while they wait.
        self._queue: deque[bytes] = deque()
        self._queue_spans = queue_spans
        self._hurry_at = queue_spans // 2
        self._in_flight = 0
        self._is_away = False
        self._pause_seconds = 0.0
        self._envelope: tuple[bytes, bytes] | None = None
        self._stop_at: float | None = None
        self._settling = threading.Lock()
        self._is_abandoned = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._queue_full = SPANS_DROPPED.labels("queue_full")
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        waiting = len(self._queue)
        if waiting >= self._queue_spans or self._stop_at is not None:
            self._queue_full.inc()
            return
        try:
            if self._envelope is None:
                self._envelope = _envelope(span)
            self._queue.append(encode_span(span))
        except Exception:
            # This runs inside business code, which no span may disturb.
            SPANS_DROPPED.labels("unencodable").inc()
            _logger.exception("span not encodable", extra={"span": span.name})
            return
        if waiting >= self._hurry_at:
            self._wake.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until everything ended so far was delivered or dropped; False if time ran out."""
        give_up_at = time.monotonic() + timeout_millis / 1000
        self._wake.set()
        while self._queue or self._in_flight:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.005)
        return True

    def shutdown(self, timeout_seconds: float = 1.5) -> None:
        """Deliver what is queued within `timeout_seconds`, drop and count the rest.

        Blocks the caller. The thread may outlive this in a socket call; it is a daemon.
        """
        if self._stop_at is not None:
            return
        self._stop_at = time.monotonic() + timeout_seconds
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_seconds)
        with self._settling:
            self._is_abandoned = True
            left = self._in_flight + len(self._queue)
            self._queue.clear()
        if left:
            SPANS_DROPPED.labels("stopped").inc(left)
            _logger.warning("spans not delivered on stop", extra={"spans": left})

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(SCHEDULE_SECONDS)
            self._wake.clear()
            self._empty_queue()
        self._empty_queue()

    def _empty_queue(self) -> None:
        while self._queue and not (self._stopping.is_set() and self._is_away):
            try:
                self._deliver(self._take_batch())
            except Exception:
                # The thread is all that empties the queue, so nothing may end it.
                SPANS_DROPPED.labels("failed").inc(self._in_flight)
                self._in_flight = 0
                _logger.exception("span export failed")

    def _take_batch(self) -> bytes:
        encoded: list[bytes] = []
        size = 0
        while self._queue and len(encoded) < BATCH_SPANS and size < BATCH_BYTES:
            self._in_flight += 1  # before it leaves the queue, so that a flush never misses it
            encoded.append(self._queue.popleft())
            size += len(encoded[-1])
        return encode_batch(self._envelope or (b"", b""), encoded)

    def _deliver(self, body: bytes) -> None:
        """Offer a batch until it is taken, refused, or has had its time."""
        give_up_at = time.monotonic() + OFFER_SECONDS
        reason = self._offer(body)
        while reason == "away" and not self._stopping.is_set() and time.monotonic() < give_up_at:
            self._pause_seconds = min(
                max(2 * self._pause_seconds, SCHEDULE_SECONDS), _LONGEST_PAUSE_SECONDS
            )
            self._stopping.wait(self._pause_seconds)
            reason = self._offer(body)
        with self._settling:
            # After `shutdown` has given up on this batch, it is counted already.
            if reason and not self._is_abandoned:
                SPANS_DROPPED.labels(reason).inc(self._in_flight)
            self._in_flight = 0

    def _offer(self, body: bytes) -> str | None:
        """Post once. Returns why it failed: `away` (may work later) or `refused`."""
        timeout = REQUEST_TIMEOUT_SECONDS
        if self._stop_at is not None:
            timeout = min(timeout, max(0.05, self._stop_at - time.monotonic()))
        try:
            self._collector.post(body, timeout_seconds=timeout)
        except urllib.error.HTTPError as error:
            error.close()
            self._note_loss(f"HTTP {error.code}")
            return "away" if error.code in _RETRYABLE else "refused"
        except (OSError, HTTPException) as error:
            self._note_loss(str(error) or type(error).__name__)
            return "away"
        if self._is_away:
            self._is_away = False
            _logger.info("spans are delivered again", extra={"collector": self._collector.address})
        self._pause_seconds = 0.0
        return None

    def _note_loss(self, why: str) -> None:
        """Say it once; the counter of dropped spans says the rest."""
        if not self._is_away and not self._is_abandoned:
            self._is_away = True
            _logger.warning(
                "spans are not delivered",
                extra={"collector": self._collector.address, "reason": why},
            )
