"""The webhook receiver as a bare ASGI app: authenticate, publish, answer once it is on disk.

First of the three steps of a webhook (ingress -> engine -> gateway). Bare ASGI because this is
the one place where the framework's cost is a large part of the work. Deliberately not here: any
look into the body beyond finding an owner's broker, any rule about trading, any database.

The token stands in the URL, because TradingView can send no header. So no path is ever logged,
put into a span or into an answer.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from aristobot.contracts import trace_names as names
from aristobot.contracts.alert_body import WIRE_OF_ENGLISH
from aristobot.contracts.directory import TokenRecord
from aristobot.contracts.keys import delivery_key, webhook_id
from aristobot.contracts.messages import WebhookReceived
from aristobot.contracts.streams import WEBHOOKS, BrokerKey, webhook_subject
from aristobot.core.alert_text import read_fields
from aristobot.core.errors import Refused, Retryable
from aristobot.ingress.directory import Directory
from aristobot.ingress.sources import SourcePolicy
from aristobot.platform import metrics, telemetry
from aristobot.platform.admin_server import AdminFace
from aristobot.platform.bus import Bus

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_BROKER_FIELD = WIRE_OF_ENGLISH["broker_ref"]
_PATH = b"/webhook"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,256}")
_JSON = (b"content-type", b"application/json")


class _Answer(Exception):
    """Ends a request early with a status and a sentence."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class IngressApp:
    """ASGI callable. `admin` answers /healthz, /readyz and /metrics."""

    def __init__(
        self,
        *,
        bus: Bus,
        directory: Directory,
        is_ready: Callable[[], bool],
        sources: SourcePolicy,
        admin: AdminFace,
    ) -> None:
        self._bus = bus
        self._directory = directory
        self._is_ready = is_ready
        self._sources = sources
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: bytes = scope["raw_path"]
        if path != _PATH and not path.startswith(_PATH + b"/"):
            await self._admin(scope, receive, send)
            return
        started = time.perf_counter()
        status = 200
        try:
            await self._webhook(scope, receive, send, path)
        except _Answer as answer:
            status = answer.status
            await _respond(send, status, _error(str(answer)), *answer.headers)
        metrics.WEBHOOK_ANSWERS.labels(status=status).inc()
        metrics.WEBHOOK_ACCEPT_SECONDS.labels(status=status).observe(time.perf_counter() - started)

    async def _webhook(self, scope: Scope, receive: Receive, send: Send, path: bytes) -> None:
        if scope["method"] != "POST":
            raise _Answer(405, "use POST", (b"allow", b"POST"))
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        source = self._source(scope, headers)
        token = _token(path, headers)
        if not self._is_ready():
            raise _Answer(503, "the tokens are not loaded yet", (b"retry-after", b"1"))
        record = self._directory.find(token)
        if record is None:
            raise _Answer(401, "unknown token")
        body = await _read_body(headers, receive)
        key = self._route(record, body)
        webhook = WebhookReceived(
            body=body,
            received_at=datetime.now(UTC),
            source=source,
            content_type=_header(headers, b"content-type") or "",
            delivery_key=delivery_key(token, body),
        )
        await self._publish(send, key, webhook, _header(headers, b"traceparent"))

    async def _publish(
        self, send: Send, key: BrokerKey, webhook: WebhookReceived, incoming: str | None
    ) -> None:
        with telemetry.start_root_span(
            names.RECEIVE_WEBHOOK,
            attributes={
                names.OWNER: key.owner,
                names.BROKER: key.broker,
                names.CLIENT_ADDRESS: webhook.source,
            },
            incoming={telemetry.TRACEPARENT: incoming} if incoming else None,
        ) as span:
            subject = webhook_subject(key)
            try:
                with telemetry.producer_span(names.WEBHOOKS_RECEIVED, webhook.headers()) as carrier:
                    ack = await self._bus.publish(
                        WEBHOOKS,
                        subject,
                        webhook.body,
                        message_id=webhook.delivery_key,
                        headers=carrier,
                    )
            except Retryable as error:
                metrics.PUBLISH_FAILURES.labels(stream=WEBHOOKS.name).inc()
                logger.warning("webhook not stored", extra={"why": str(error), "broker": str(key)})
                raise _Answer(
                    503, "not stored, please send again", (b"retry-after", b"1")
                ) from error
            identifier = webhook_id(webhook.delivery_key, ack.sequence)
            trace_id = telemetry.current_trace_id()
            span.set_attribute(names.WEBHOOK_ID, identifier)
            span.set_attribute(names.IS_DUPLICATE, ack.duplicate)
            if ack.duplicate:
                metrics.WEBHOOK_DUPLICATES.inc()
            logger.info(
                "webhook stored",
                extra={
                    "webhook_id": identifier,
                    "broker": str(key),
                    "bytes": len(webhook.body),
                    "duplicate": ack.duplicate,
                },
            )
            duplicate = "true" if ack.duplicate else "false"
            await _respond(
                send,
                200,
                f'{{"id":"{identifier}","trace_id":"{trace_id}","duplicate":{duplicate}}}'.encode(),
                (b"x-trace-id", trace_id.encode()),
            )

    def _source(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = [v.decode("latin-1") for k, v in headers if k == b"x-forwarded-for"]
        source = self._sources.client_address(peer, forwarded)
        if not self._sources.is_allowed(source):
            logger.warning("source refused", extra={"source": source})
            raise _Answer(403, "this address may not send webhooks here")
        return source

    def _route(self, record: TokenRecord, body: bytes) -> BrokerKey:
        if record.broker is not None:
            return BrokerKey(record.owner, record.broker)
        try:
            reference = read_fields(body).get(_BROKER_FIELD)
        except Refused:
            reference = None  # the engine reads it again and records why it can't be understood
        return self._directory.route(record.owner, reference)


def _header(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def _token(path: bytes, headers: list[tuple[bytes, bytes]]) -> str:
    """The one token of the request. Two that differ are refused: neither can be believed."""
    presented = {value for key, value in headers if key == b"x-webhook-token"}
    rest = path[len(_PATH) + 1 :]
    if b"/" in rest:
        raise _Answer(404, "not found")
    if rest:
        presented.add(rest)
    if not presented:
        raise _Answer(401, "no token: post to /webhook/<token> or send X-Webhook-Token")
    if len(presented) > 1:
        raise _Answer(401, "the request carries two different tokens")
    (token,) = presented
    if not _TOKEN.fullmatch(token):
        raise _Answer(401, "unknown token")
    return token.decode("ascii")


async def _read_body(headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    too_large = _Answer(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    length = _header(headers, b"content-length")
    if length is not None and length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Answer(400, "the connection ended before the body did")
        chunk: bytes = event.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large
        chunks.append(chunk)
        if not event.get("more_body", False):
            return b"".join(chunks)


def _error(message: str) -> bytes:
    return f'{{"error":"{message}"}}'.encode()


async def _respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [_JSON, (b"content-length", str(len(body)).encode()), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
