"""Reads OTLP/HTTP trace requests into rows of the span table. Pure: bytes in, rows out.

Protobuf only, plain or gzip (OTLP specification, "OTLP/HTTP Request"). A span that can't be kept
(no valid ids, times beyond 63 bits) is counted as rejected and the rest is taken, as OTLP's
partial success says. Not here: HTTP (`app.py`) and SQL (`span_store.py`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from aristobot.contracts.trace_names import SERVICE_INSTANCE, SERVICE_NAME
from aristobot.core.errors import Refused

CONTENT_TYPE = "application/x-protobuf"
MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_INT64 = (1 << 63) - 1

_STATUS = {Status.STATUS_CODE_OK: "ok", Status.STATUS_CODE_ERROR: "error"}


@dataclass(frozen=True, slots=True)
class Received:
    """`rows` are dicts with the columns of the span table, without `received_at`."""

    rows: list[dict[str, Any]]
    rejected: int


def unpack(body: bytes, content_encoding: str) -> bytes:
    """Undo the content encoding. Raises Refused: `encoding`, `malformed` or `too_large`."""
    if content_encoding in {"", "identity"}:
        return body
    if content_encoding != "gzip":
        raise Refused("encoding", f"content encoding {content_encoding!r} is not supported")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Refused("malformed", "the body is not valid gzip") from error
    if len(plain) > MAX_BODY_BYTES:
        raise Refused("too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
    if not inflater.eof:
        raise Refused("malformed", "the gzip body is cut off")
    return plain


def read_request(body: bytes) -> Received:
    """Decode an ExportTraceServiceRequest. Raises Refused(`malformed`)."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise Refused("malformed", "the body is not an OTLP trace request") from error
    rows: list[dict[str, Any]] = []
    rejected = 0
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if _is_keepable(span):
                    rows.append(_row(span, resource))
                else:
                    rejected += 1
    return Received(rows, rejected)


def answer(received: Received) -> bytes:
    """The ExportTraceServiceResponse for `received`; empty when all was taken."""
    if not received.rejected:
        return b""
    partial = ExportTracePartialSuccess(
        rejected_spans=received.rejected, error_message="spans without valid ids or times"
    )
    data: bytes = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    return data


def _is_keepable(span: Span) -> bool:
    return (
        len(span.trace_id) == 16
        and len(span.span_id) == 8
        and any(span.trace_id)
        and any(span.span_id)
        and len(span.parent_span_id) in {0, 8}
        and span.start_time_unix_nano <= _MAX_INT64
        and span.end_time_unix_nano <= _MAX_INT64
    )


def _row(span: Span, resource: dict[str, Any]) -> dict[str, Any]:
    attributes = _attributes(span.attributes)
    if SERVICE_INSTANCE in resource:
        attributes.setdefault(SERVICE_INSTANCE, resource[SERVICE_INSTANCE])
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex() if any(span.parent_span_id) else None,
        "name": _text(span.name),
        "kind": _kind(span.kind),
        "service": str(resource.get(SERVICE_NAME, "unknown")),
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "status": _STATUS.get(span.status.code, "unset"),
        "status_message": _text(span.status.message) or None,
        "attributes": attributes,
        "events": [
            {
                "name": _text(event.name),
                "time_ns": event.time_unix_nano,
                "attributes": _attributes(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ],
    }


def _kind(number: int) -> str:
    try:
        name: str = Span.SpanKind.Name(number)
    except ValueError:
        return "unspecified"  # a kind from a later version of the protocol
    return name.removeprefix("SPAN_KIND_").lower()


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {_text(pair.key): _value(pair.value) for pair in pairs}


def _text(value: str) -> str:
    # PostgreSQL stores no NUL, neither in text nor in jsonb.
    return value.replace("\x00", "\ufffd") if "\x00" in value else value


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "string_value":
            return _text(value.string_value)
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else str(number)  # JSON has no NaN
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case _:
            return None
