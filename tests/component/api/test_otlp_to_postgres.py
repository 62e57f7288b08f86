"""Spans go in through the real exporter and come back from PostgreSQL."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aristobot.api import otlp
from aristobot.api.app import MAX_REQUESTS_IN_HAND, create_app
from aristobot.api.span_store import SpanStore
from aristobot.contracts import trace_names as names
from aristobot.platform import telemetry
from aristobot.platform.admin_server import listen, run_asgi
from aristobot.platform.db import Database

Api = Callable[[SpanStore], AbstractAsyncContextManager[str]]
PROTOBUF = {"Content-Type": otlp.CONTENT_TYPE}


def one_journey() -> str:
    with telemetry.receive_span(None, broker="demo.demo") as root:
        with telemetry.producer_span(names.WEBHOOKS_RECEIVED) as carrier:
            pass
        root.set_attribute(names.WEBHOOK_ID, "w-1")
        trace_id = telemetry.current_trace_id()
    with telemetry.consumer_span(names.WEBHOOKS_RECEIVED, carrier, attempt=1):
        telemetry.record_event(names.EVENT_ACK)
    return trace_id


def request_of(count: int, *, trace_id: bytes | None = None, start: int = 1) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(count):
        spans.add(
            trace_id=trace_id or secrets.token_bytes(16),
            span_id=(number + 1).to_bytes(8, "big"),
            name="x",
            start_time_unix_nano=start,
            end_time_unix_nano=start + 1,
        )
    return request.SerializeToString()


def check_journey(spans: list[dict[str, Any]]) -> None:
    root, sent, processed = spans
    assert [s["name"] for s in spans] == [
        "POST /webhook",
        "send webhooks.received",
        "process webhooks.received",
    ]
    assert [s["kind"] for s in spans] == ["server", "producer", "consumer"]
    assert (root["parent_span_id"], sent["parent_span_id"], processed["parent_span_id"]) == (
        None,
        root["span_id"],
        sent["span_id"],
    )
    assert root["attributes"][names.WEBHOOK_ID] == "w-1"
    assert processed["attributes"][names.NATS_DELIVERY_COUNT] == 1
    assert [event["name"] for event in processed["events"]] == ["ack"]
    assert {span["service"] for span in spans} == {"journey"}


async def test_our_export_arrives(store: SpanStore, api: Api) -> None:
    async with api(store) as url:
        started = telemetry.setup_telemetry("journey", otlp_endpoint=url)
        trace_id = one_journey()
        await asyncio.to_thread(started.shutdown)
    check_journey(await store.get(trace_id))


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_the_sdks_exporter_is_understood(
    store: SpanStore, api: Api, compression: Compression
) -> None:
    memory = InMemorySpanExporter()
    telemetry.setup_telemetry("journey").add_processor(SimpleSpanProcessor(memory))
    trace_id = one_journey()
    async with api(store) as url:
        exporter = OTLPSpanExporter(f"{url}/v1/traces", timeout=2, compression=compression)
        spans = memory.get_finished_spans()
        for _ in range(2):  # an exporter that missed the answer sends again
            assert await asyncio.to_thread(exporter.export, spans) is SpanExportResult.SUCCESS
        async with httpx.AsyncClient(base_url=url) as client:
            shown = (await client.get(f"/api/traces/{trace_id}")).json()
    assert shown["trace_id"] == trace_id
    check_journey(shown["spans"])


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"", PROTOBUF),
        (415, b"{}", {"Content-Type": "application/json"}),
        (415, b"", {}),
        (415, b"", {**PROTOBUF, "Content-Encoding": "br"}),
        (400, b"\xff\xff\xff", PROTOBUF),
        (400, b"not gzip", {**PROTOBUF, "Content-Encoding": "gzip"}),
        (400, gzip.compress(b"x" * 1000, mtime=0)[:-9], {**PROTOBUF, "Content-Encoding": "gzip"}),
        (413, b"x" * (otlp.MAX_BODY_BYTES + 1), PROTOBUF),
        (413, gzip.compress(bytes(50_000_000), mtime=0), {**PROTOBUF, "Content-Encoding": "gzip"}),
    ],
)
async def test_what_is_refused(
    store: SpanStore, api: Api, status: int, body: bytes, headers: dict[str, str]
) -> None:
    async with api(store) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v1/traces", content=body, headers=headers)
    assert answer.status_code == status, answer.text


async def test_other_paths(store: SpanStore, api: Api) -> None:
    async with api(store) as url, httpx.AsyncClient(base_url=url) as client:
        statuses = {
            path: (await client.get(path)).status_code
            for path in (
                "/healthz",
                "/readyz",
                "/metrics",
                "/v1/traces",
                "/api/traces/" + "0" * 32,
                "/api/traces/not-an-id",
                "/nothing",
            )
        }
    assert list(statuses.values()) == [200, 200, 200, 405, 404, 400, 404]


async def test_bad_spans_are_rejected_and_the_rest_is_kept(store: SpanStore, api: Api) -> None:
    good = secrets.token_bytes(16)
    body = request_of(1, trace_id=good) + request_of(2, trace_id=b"short")
    body += request_of(1, trace_id=bytes(16)) + request_of(1, start=2**63)
    async with api(store) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v1/traces", content=body, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 4)
    assert len(await store.get(good.hex())) == 1


async def test_odd_values_are_stored(store: SpanStore) -> None:
    request = ExportTraceServiceRequest()
    trace_id = secrets.token_bytes(16)
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=trace_id, span_id=b"12345678", name="nul\x00name", kind=99)
    )
    for key, value in (("nan", float("nan")), ("inf", float("-inf"))):
        span.attributes.add(key=key).value.double_value = value
    span.attributes.add(key="nul\x00").value.string_value = "a\x00b"
    span.attributes.add(key="none")
    span.attributes.add(key="list").value.array_value.values.add(int_value=7)
    await store.add(otlp.read_request(request.SerializeToString()).rows)
    (stored,) = await store.get(trace_id.hex())
    assert stored["attributes"] == {
        "nan": "nan",
        "inf": "-inf",
        "nul\ufffd": "a\ufffdb",
        "none": None,
        "list": [7],
    }
    assert (stored["kind"], stored["service"]) == ("unspecified", "unknown")


async def test_find_and_recent(store: SpanStore, api: Api) -> None:
    mark = secrets.token_hex(8)
    async with api(store) as url:
        started = telemetry.setup_telemetry("search", otlp_endpoint=url)
        ids = []
        for number in range(3):
            with telemetry.receive_span(None, client_order_id=mark if number else "other"):
                ids.append(telemetry.current_trace_id())
                with telemetry.internal_span("below", client_order_id=mark):
                    pass
        await asyncio.to_thread(started.shutdown)
    assert [found.trace_id for found in await store.find(names.CLIENT_ORDER_ID, mark)] == ids[::-1]
    assert await store.find(names.CLIENT_ORDER_ID, "nobody's") == []
    assert [found.trace_id for found in await store.recent(3)] == ids[::-1]


async def test_old_spans_are_deleted_in_batches(store: SpanStore) -> None:
    now = datetime(2020, 1, 31, tzinfo=UTC)
    day_ns = 86_400 * 10**9
    now_ns = int(now.timestamp()) * 10**9
    old, young = secrets.token_bytes(16), secrets.token_bytes(16)
    await store.add(
        otlp.read_request(request_of(4_500, trace_id=old, start=now_ns - 8 * day_ns)).rows
    )
    await store.add(otlp.read_request(request_of(5, trace_id=young, start=now_ns)).rows)
    assert await store.delete_older_than(7, now=now) >= 4_500
    assert await store.get(old.hex()) == []
    assert len(await store.get(young.hex())) == 5


async def test_database_away_is_503_and_the_exporter_keeps_its_spans(
    store: SpanStore, api: Api
) -> None:
    away = Database("postgresql://nobody:x@127.0.0.1:1/none", service="test")
    async with api(SpanStore(away)) as url:
        port = int(url.rpartition(":")[2])
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.post("/v1/traces", content=request_of(1), headers=PROTOBUF)
            shown = await client.get("/api/traces/" + "1" * 32)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert shown.status_code == 503
        started = telemetry.setup_telemetry("journey", otlp_endpoint=url)
        trace_id = one_journey()
        assert not await asyncio.to_thread(started.flush, 1.2)
    await away.close()

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        app = create_app(store, lambda: [])
        tasks.create_task(run_asgi(app, listen("127.0.0.1", port), stop))
        assert await asyncio.to_thread(started.flush, 10)
        await asyncio.to_thread(started.shutdown)
        stop.set()
    check_journey(await store.get(trace_id))


class SlowStore(SpanStore):
    """A store whose writes hang until told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.is_full = asyncio.Event()
        self._waiting = 0

    async def add(self, rows: Any) -> None:
        self._waiting += 1
        if self._waiting == MAX_REQUESTS_IN_HAND:
            self.is_full.set()
        await self.go_on.wait()


async def test_too_many_requests_in_hand_are_told_to_come_again(api: Api) -> None:
    slow = SlowStore()
    async with (
        api(slow) as url,
        httpx.AsyncClient(base_url=url, headers=PROTOBUF) as client,
        asyncio.TaskGroup() as tasks,
    ):
        posts = [
            tasks.create_task(client.post("/v1/traces", content=request_of(1)))
            for _ in range(MAX_REQUESTS_IN_HAND)
        ]
        await slow.is_full.wait()
        beyond = await client.post("/v1/traces", content=request_of(1))
        slow.go_on.set()
    assert beyond.status_code == 503
    assert {post.result().status_code for post in posts} == {200}
