"""The waterfall in the terminal fits its width and shows what matters."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from aristobot.cli.trace_view import render
from aristobot.contracts import trace_names as names
from aristobot.core.waterfall import waterfall

MS = 1_000_000


def span(
    number: int, parent: int | None, name: str, service: str, start: float, end: float, **more: Any
) -> dict[str, Any]:
    return {
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": f"{number:016x}",
        "parent_span_id": None if parent is None else f"{parent:016x}",
        "name": name,
        "kind": "internal",
        "service": service,
        "start_ns": int(start * MS),
        "end_ns": int(end * MS),
        "status": "unset",
        **more,
    }


ORDER = {
    names.SYMBOL: "BTCUSDT",
    names.CLIENT_ORDER_ID: "ab-0123456789abcdef0123456789abcdef",
    names.OUTCOME: "accepted",
}
JOURNEY = [
    span(1, None, names.RECEIVE_WEBHOOK, "ingress", 0, 2, attributes={names.BROKER: "demo.demo"}),
    span(2, 1, "send webhooks.received", "ingress", 0.3, 1.6),
    span(3, 2, "process webhooks.received", "engine", 2, 7),
    span(4, 3, "decide webhook", "engine", 2.1, 4, attributes={names.DECISION: "order"}),
    span(5, 3, "send orders.commands", "engine", 6, 6.5),
    span(6, 5, "process orders.commands", "gateway-demo.demo", 7, 12),
    span(7, 6, "POST binance", "gateway-demo.demo", 8, 11, attributes=ORDER),
    span(
        8,
        99,
        "apply fill",
        "gateway-demo.demo",
        15,
        16,
        status="error",
        status_message="\x1b[31mbroken [red]pipe",
        links=[{"trace_id": "f" * 32, "span_id": "1" * 16}],
    ),
]


def drawn(width: int, spans: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    render(waterfall(spans), Console(file=out, width=width, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 160, 250])
def test_every_span_is_there_and_no_line_is_too_long(width: int) -> None:
    text = drawn(width, JOURNEY)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert text.count("━") >= len(JOURNEY)
    assert "8 spans  3 services" in text or width < 60


@pytest.mark.parametrize("width", [80, 160])
def test_what_matters_is_readable(width: int) -> None:
    text = drawn(width, JOURNEY)
    for expected in (
        "process webhooks.received",
        "gateway-demo.demo",
        "3.0 ms",
        "symbol=BTCUSDT",
        f"client_order_id={ORDER[names.CLIENT_ORDER_ID]}",
        "outcome=accepted",
        "decision=order",
        "! apply fill (parent missing)",
        f"linked to {'f' * 32}",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_bars_follow_time() -> None:
    bars = [line for line in drawn(160, JOURNEY[:3]).splitlines() if "━" in line]
    starts = [bar.index("━") for bar in bars]
    ends = [bar.rindex("━") for bar in bars]
    assert starts == sorted(starts)
    assert starts[2] > ends[1]


def test_a_trace_without_duration_and_an_empty_one() -> None:
    assert "━" in drawn(80, [span(1, None, "x", "engine", 5, 5)])
    assert "no spans" in drawn(80, [])
