"""The API's routes: spans in by OTLP/HTTP, traces out as JSON, and the three admin paths.

When the database is away the answer is 503, so that exporters keep their spans and try again;
nothing is buffered here beyond the few requests in hand. Not here: authentication (the service
listens inside the platform only).
"""

from __future__ import annotations

import re
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aristobot.api import otlp
from aristobot.api.span_store import SpanStore
from aristobot.core.errors import Refused, Retryable
from aristobot.platform.admin_server import AdminFace, Readiness
from aristobot.platform.metrics import SPANS_STORED

#: Batches in hand at a time, 4 MiB each at most; whoever comes beyond is told to come again.
MAX_REQUESTS_IN_HAND = 8

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_STATUS_OF = {"encoding": 415, "malformed": 400, "too_large": 413}
_AGAIN = {"Retry-After": "1"}


def create_app(store: SpanStore, readiness: Readiness) -> Starlette:
    """Build the ASGI app around one span store."""
    face = _Face(store)
    app = Starlette(
        routes=[
            Route("/v1/traces", face.receive, methods=["POST"]),
            Route("/api/traces/{trace_id}", face.show, methods=["GET"]),
        ]
    )
    app.router.default = AdminFace(readiness)
    return app


def create_spans_app(store: SpanStore) -> Starlette:
    """Spans in and nothing out: for those who may tell but not look (a strategy's pod)."""
    return Starlette(routes=[Route("/v1/traces", _Face(store).receive, methods=["POST"])])


class _Face:
    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._in_hand = 0

    async def receive(self, request: Request) -> Response:
        """OTLP/HTTP trace export."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != otlp.CONTENT_TYPE:
            return _error(415, f"send {otlp.CONTENT_TYPE}")
        if self._in_hand >= MAX_REQUESTS_IN_HAND:
            return _error(503, "busy, please send again", _AGAIN)
        self._in_hand += 1
        try:
            encoding = request.headers.get("content-encoding", "").strip().lower()
            received = otlp.read_request(otlp.unpack(await _read_body(request), encoding))
            await self._store.add(received.rows)
        except Refused as refusal:
            return _error(_STATUS_OF[refusal.code], str(refusal))
        except Retryable as error:
            return _error(503, str(error), _AGAIN)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        finally:
            self._in_hand -= 1
        SPANS_STORED.inc(len(received.rows))
        return Response(otlp.answer(received), media_type=otlp.CONTENT_TYPE)

    async def show(self, request: Request) -> Response:
        """One trace: its id and its spans by start."""
        trace_id = request.path_params["trace_id"].lower()
        if not _TRACE_ID.fullmatch(trace_id):
            return _error(400, "a trace id has 32 hexadecimal digits")
        try:
            spans = await self._store.get(trace_id)
        except Retryable as error:
            return _error(503, str(error), _AGAIN)
        if not spans:
            return _error(404, "no spans of this trace are stored")
        return JSONResponse({"trace_id": trace_id, "spans": spans})


async def _read_body(request: Request) -> bytes:
    too_large = Refused("too_large", f"the body is larger than {otlp.MAX_BODY_BYTES} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > otlp.MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > otlp.MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    content: dict[str, Any] = {"error": message}
    return JSONResponse(content, status, headers)
