"""Trace context over a real NATS server: one trace from sender to reader, and no leak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aristobot.contracts import trace_names as names
from aristobot.platform import telemetry
from aristobot.platform.admin_server import listen

NATS_SERVER = Path(__import__("sys").executable).with_name("nats-server")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    server = await asyncio.create_subprocess_exec(
        *(str(NATS_SERVER), "-a", "127.0.0.1", "-p", str(port)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            connected = await nats.connect(
                f"nats://127.0.0.1:{port}", max_reconnect_attempts=100, reconnect_time_wait=0.05
            )
        yield connected
        await connected.close()
    finally:
        server.terminate()
        await server.wait()


@pytest.fixture
def finished() -> InMemorySpanExporter:
    memory = InMemorySpanExporter()
    telemetry.setup_telemetry("test").add_processor(SimpleSpanProcessor(memory))
    return memory


def by_name(memory: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in memory.get_finished_spans()}


async def exchange(client: Client, headers: list[dict[str, str] | None]) -> list[str]:
    """Send one message per entry to one callback; the trace id that each was processed under."""
    seen: list[str] = []
    done = asyncio.Event()

    async def handle(message: Msg) -> None:
        with telemetry.consumer_span("webhooks.received", message.headers):
            seen.append(telemetry.current_trace_id())
        if len(seen) == len(headers):
            done.set()

    await client.subscribe("s", cb=handle)
    for each in headers:
        await client.publish("s", b"", headers=each)
    await asyncio.wait_for(done.wait(), 5)
    return seen


async def test_one_trace_across_the_hop(client: Client, finished: InMemorySpanExporter) -> None:
    with telemetry.receive_span(None, broker="demo.demo"):
        trace_id = telemetry.current_trace_id()
        with telemetry.producer_span("webhooks.received", {"Nats-Msg-Id": "1"}) as headers:
            carried = dict(headers)
    assert set(carried) == {"Nats-Msg-Id", "traceparent"}
    assert await exchange(client, [carried]) == [trace_id]
    spans = by_name(finished)
    root, sent = spans["POST /webhook"], spans["send webhooks.received"]
    processed = spans["process webhooks.received"]
    assert [span.kind for span in (root, sent, processed)] == [
        SpanKind.SERVER,
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    ]
    assert root.parent is None
    assert sent.parent is not None
    assert processed.parent is not None
    assert root.context is not None
    assert sent.context is not None
    assert sent.parent.span_id == root.context.span_id
    assert processed.parent.span_id == sent.context.span_id
    assert carried["traceparent"].split("-")[2] == f"{sent.context.span_id:016x}"


async def test_the_second_message_without_headers_has_no_parent(
    client: Client, finished: InMemorySpanExporter
) -> None:
    with telemetry.producer_span("webhooks.received") as headers:
        trace_id = telemetry.current_trace_id()
    first, second, third = await exchange(client, [headers, None, headers])
    assert (first, third) == (trace_id, trace_id)
    assert second not in {trace_id, ""}
    parents = [
        span.parent for span in finished.get_finished_spans() if span.kind is SpanKind.CONSUMER
    ]
    assert [parent is None for parent in parents] == [False, True, False]
    assert telemetry.current_trace_id() == ""


async def test_a_reader_understands_any_case(client: Client) -> None:
    with telemetry.producer_span("webhooks.received") as headers:
        trace_id = telemetry.current_trace_id()
    odd = {"Traceparent": headers["traceparent"]}
    assert await exchange(client, [odd, {"TRACEPARENT": odd["Traceparent"]}]) == [trace_id] * 2


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "ff-" + "1" * 32, "x" * 5000],
)
async def test_a_malformed_traceparent_begins_a_new_trace(
    traceparent: str, finished: InMemorySpanExporter
) -> None:
    with telemetry.consumer_span("webhooks.received", {"traceparent": traceparent}):
        assert telemetry.current_trace_id()
    with telemetry.receive_span(traceparent):
        assert telemetry.current_trace_id()
    with telemetry.linked_root(names.APPLY_FILL, [traceparent]):
        assert telemetry.current_trace_id()
    assert [(span.parent, span.links) for span in finished.get_finished_spans()] == [(None, ())] * 3


async def test_a_readers_span_ignores_what_is_current(finished: InMemorySpanExporter) -> None:
    with telemetry.internal_span("unrelated"):
        outer = telemetry.current_trace_id()
        with telemetry.consumer_span("webhooks.received", None):
            assert telemetry.current_trace_id() != outer
        assert telemetry.current_trace_id() == outer


async def test_roots_link_what_came_in_or_caused_them(finished: InMemorySpanExporter) -> None:
    outside = f"00-{'a' * 32}-{'b' * 16}-00"
    with telemetry.receive_span(outside):
        stored = telemetry.current_traceparent()
        trace_id = telemetry.current_trace_id()
    with telemetry.linked_root(names.APPLY_FILL, [stored, "nonsense"]):
        assert telemetry.current_trace_id() != trace_id
    received, applied = finished.get_finished_spans()
    assert [f"{link.context.trace_id:032x}" for link in received.links] == ["a" * 32]
    assert [f"{link.context.trace_id:032x}" for link in applied.links] == [trace_id]


async def test_parallel_tasks_keep_their_spans_apart() -> None:
    async def work(number: int) -> bool:
        with telemetry.receive_span(None):
            mine = telemetry.current_trace_id()
            await asyncio.sleep(0.001 * (number % 3))
            with telemetry.internal_span("x"):
                await asyncio.sleep(0.001)
                return telemetry.current_trace_id() == mine

    assert all(await asyncio.gather(*(work(number) for number in range(30))))


async def test_failures_are_recorded_without_a_token_and_cancelling_is_none(
    finished: InMemorySpanExporter,
) -> None:
    def fail() -> None:
        raise ValueError("POST /webhook/t0ken failed")

    with pytest.raises(ValueError, match="t0ken"), telemetry.client_span("POST binance"):
        fail()
    with pytest.raises(asyncio.CancelledError), telemetry.internal_span("cancelled"):
        raise asyncio.CancelledError
    with telemetry.internal_span("refused"):
        telemetry.mark_failed("/webhook/t0ken")
    failed, cancelled, refused = finished.get_finished_spans()
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "ValueError: POST /webhook/*** failed"
    assert [event.name for event in failed.events] == ["exception"]
    assert "t0ken" not in failed.to_json() + refused.to_json()
    assert cancelled.status.status_code is StatusCode.UNSET
    assert cancelled.end_time is not None
    assert refused.status.description == "/webhook/***"
