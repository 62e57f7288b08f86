"""Log lines: valid JSON, complete, quick, and without a webhook's token."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.platform import telemetry
from aristobot.platform.logs import ContextFilter, JsonFormatter, configure_logging, scrub

TOKEN = "s3cr3t-Token_42"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    captured = io.StringIO()
    configure_logging("ingress", stream=captured)
    yield captured
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(False)


def last(stream: io.StringIO) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return line


def test_a_line_has_its_fields(stream: io.StringIO) -> None:
    with telemetry.internal_span("decide webhook"):
        trace_id = telemetry.current_trace_id()
        logging.getLogger("a.b").info(
            "order placed",
            extra={"price": Decimal("1.10"), "at": datetime(2026, 1, 1, tzinfo=UTC), "count": 2},
        )
    line = last(stream)
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None
    assert len(line["timestamp"]) == len("2026-01-01T00:00:00.000Z")
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "a.b", "order placed")
    assert (line["service"], line["trace_id"], len(line["span_id"])) == ("ingress", trace_id, 16)
    assert (line["price"], line["at"], line["count"]) == ("1.10", "2026-01-01T00:00:00+00:00", 2)


def test_outside_a_span_there_are_no_ids(stream: io.StringIO) -> None:
    logging.getLogger("a").warning("alone")
    assert "trace_id" not in last(stream)


@pytest.mark.parametrize(
    "path",
    [
        f"/webhook/{TOKEN}",
        f"POST /webhook/{TOKEN}?x=1 HTTP/1.1",
        f"http://127.0.0.1:8888/webhook//{TOKEN}",
        f"/WEBHOOK/{TOKEN}/",
        f"%2Fwebhook%2F{TOKEN}",
        f"/webhook?token={TOKEN}",
        f"/webhook/a\\{TOKEN}",
        f"/webhook/é{TOKEN}",
    ],
)
def test_a_token_in_a_path_is_hidden(stream: io.StringIO, path: str) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.warning(path)
    logger.warning("request %s failed", path)
    logger.warning("failed", extra={"where": {"deep": [path]}})
    try:
        raise ValueError(f"bad path {path}")
    except ValueError:
        logger.exception("failed")
    written = stream.getvalue()
    assert TOKEN not in written
    assert written.count("***") >= 4
    assert all(json.loads(line) for line in written.splitlines())


def test_scrubbing_leaves_the_rest() -> None:
    assert scrub('{"a":"/webhook/abc","b":1}') == '{"a":"/webhook/***","b":1}'
    assert scrub(r"x /webhook/abc\nTraceback") == r"x /webhook/***\nTraceback"
    assert scrub("POST /webhook done; webhooks.received") == "POST /webhook done; webhooks.received"


def test_uvicorns_access_log_is_off(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info("GET /healthz")
    assert stream.getvalue() == ""


def test_what_cannot_be_written_as_json_is_written_as_text(stream: io.StringIO) -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    logging.getLogger("a").info("odd", extra={"nan": float("nan"), "cycle": cycle, "key": {1j: 2}})
    assert last(stream)["nan"] == "nan"
    record = logging.LogRecord("a", 20, "", 0, "%d wrong %s", ("x",), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "%d wrong %s ('x',)"
    logging.getLogger("a").info("taken", extra={"level": "mine", "timestamp": 1})
    assert (last(stream)["level"], last(stream)["extra_level"]) == ("INFO", "mine")


def test_uncaught_exceptions_are_lines(stream: io.StringIO) -> None:
    error = RuntimeError(f"/webhook/{TOKEN}")
    sys.excepthook(RuntimeError, error, None)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["uncaught exception"] * 2
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert TOKEN not in stream.getvalue()


def test_text_format(stream: io.StringIO) -> None:
    configure_logging("ingress", stream=stream, json=False)
    logging.getLogger("a").info("order placed", extra={"path": f"/webhook/{TOKEN}", "count": 2})
    assert stream.getvalue().endswith("INFO    a order placed count=2 path=/webhook/***\n")


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.binary()))
def test_any_record_is_one_json_line(message: str, fields: dict[str, Any]) -> None:
    record = logging.LogRecord("a", 20, "", 0, message, (), None)
    for name, value in fields.items():
        record.__dict__.setdefault(name, value)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert isinstance(json.loads(line), dict)
    line.encode()


def test_formatting_is_quick() -> None:
    record = logging.LogRecord("aristobot.ingress.app", 20, "", 0, "webhook stored", (), None)
    record.__dict__ |= {"webhook_id": "w" * 32, "broker": "demo.demo", "bytes": 400}
    formatter, add_context = JsonFormatter(), ContextFilter("ingress")
    best = float("inf")
    for _ in range(10):
        started = time.thread_time()
        for _ in range(500):
            add_context.filter(record)
            formatter.format(record)
        best = min(best, (time.thread_time() - started) / 500)
    print(f"{best * 1e6:.1f} us per line")
    assert best < 60e-6  # 20 us are wanted; a busy test machine gets three times that
