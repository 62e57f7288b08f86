"""A collector that refuses, never answers or fails costs spans, and nothing else."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from aristobot.core.errors import Misconfigured
from aristobot.platform import span_export, telemetry
from aristobot.platform.metrics import REGISTRY
from aristobot.platform.telemetry import Telemetry

LOGGER = "aristobot.platform.span_export"


def dropped() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "aristobot_spans_dropped"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def open_spans(count: int) -> float:
    """End `count` spans; the CPU seconds that it took this thread."""
    started = time.thread_time()
    for number in range(count):
        with telemetry.internal_span("work", webhook_id=str(number)):
            pass
    return time.thread_time() - started


def stop(started: Telemetry) -> float:
    begun = time.monotonic()
    started.shutdown()
    return time.monotonic() - begun


@contextmanager
def refusing() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def silent() -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Answering:
    """A collector that answers with the given statuses in turn, the last one for ever."""

    def __init__(self, *statuses: int, body: bytes = b"", location: str | None = None) -> None:
        self.statuses = list(statuses)
        self.spans = 0
        self.requests: list[str] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector.statuses[0]
                if len(collector.statuses) > 1:
                    collector.statuses.pop(0)
                collector.requests.append(f"{self.path} {self.headers['X-Key']}")
                if status == 200:
                    request = ExportTraceServiceRequest.FromString(data)
                    collector.spans += len(request.resource_spans[0].scope_spans[0].spans)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """The test's output stays its own."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


@pytest.mark.parametrize("collector", [refusing, silent])
def test_ten_thousand_spans_cost_nothing_and_stopping_is_quick(
    collector: Callable[[], Iterator[str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    telemetry.setup_telemetry("test")
    open_spans(1_000)
    without = open_spans(10_000)
    before = dropped()
    with ExitStack() as stack:
        url = stack.enter_context(collector())  # type: ignore[arg-type]
        started = telemetry.setup_telemetry("test", otlp_endpoint=url)
        open_spans(1)
        time.sleep(1.2)  # by now the thread is in its first request, or in a pause after it
        spent = open_spans(10_000)
        seconds = stop(started)
    print(f"{without / 1e4 * 1e6:.1f} us per span without, {spent / 1e4 * 1e6:.1f} us with")
    assert seconds < 2.0
    assert dropped() - before == 10_001
    assert spent < without * 3 + 0.1
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert messages.count("spans are not delivered") <= 1
    assert len(messages) <= 2


def test_loss_and_recovery_are_said_once_and_spans_survive_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(span_export, "SCHEDULE_SECONDS", 0.05)
    caplog.set_level(logging.INFO, LOGGER)
    before = dropped()
    with Answering(503, 429, 502, 200) as collector:
        started = telemetry.setup_telemetry(
            "test", otlp_endpoint=collector.url, otlp_headers={"X-Key": "k"}
        )
        open_spans(100)
        assert started.flush(10)
        open_spans(100)
        assert stop(started) < 2.0
    assert (collector.spans, dropped() - before) == (200, 0)
    assert set(collector.requests) == {"/v1/traces k"}
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert messages == ["spans are not delivered", "spans are delivered again"]


@pytest.mark.parametrize("status", [400, 401, 413, 302])
def test_a_refused_batch_is_dropped_and_counted(status: int) -> None:
    before = dropped()
    with Answering(200) as elsewhere, Answering(status, location=elsewhere.url) as collector:
        started = telemetry.setup_telemetry("test", otlp_endpoint=collector.url + "/v1/traces")
        open_spans(10)
        assert started.flush(5)
        stop(started)
    assert dropped() - before == 10
    assert len(collector.requests) == 1
    assert elsewhere.requests == []


def test_spans_that_the_collector_rejects_are_counted() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    before = dropped()
    with Answering(200, body=answer.SerializeToString()) as collector:
        started = telemetry.setup_telemetry("test", otlp_endpoint=collector.url)
        open_spans(10)
        assert started.flush(5)
        stop(started)
    assert dropped() - before == 3


def test_the_queue_is_bounded() -> None:
    before = dropped()
    with silent() as url:
        collector = span_export.Collector(url, {})
        export = span_export.SpanExport(collector, queue_spans=50)
        telemetry.setup_telemetry("test").add_processor(export)
        open_spans(1_000)
        assert len(export._queue) <= 50
        export.shutdown(0.2)
        assert dropped() - before == 1_000
    export._thread.join(3)  # its request ends now; the batch must not count twice
    assert dropped() - before == 1_000


def test_without_an_endpoint_ids_are_real() -> None:
    started = telemetry.setup_telemetry("test")
    with telemetry.receive_span(None):
        assert len(telemetry.current_trace_id()) == 32
        assert telemetry.current_traceparent().startswith(f"00-{telemetry.current_trace_id()}-")
    assert started.flush()
    assert stop(started) < 0.1


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://x", "http://", "grpc://x:4317"])
def test_an_endpoint_that_is_none_is_said(endpoint: str) -> None:
    with pytest.raises(Misconfigured, match="OTLP endpoint"):
        telemetry.setup_telemetry("test", otlp_endpoint=endpoint)
