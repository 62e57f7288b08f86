"""Turns the spans of one trace into the rows of a waterfall: order, depth, offset, duration.

Spans arrive in any order, twice, or without their parent (a batch that was dropped, a service
that died); every one of them gets exactly one row all the same. Not here: drawing
(`cli.trace_view`) and storing (`api.span_store`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One span. `offset_ms` counts from the earliest start of the trace.

    `is_orphan`: it names a parent that isn't among the spans; it is shown at the root.
    """

    depth: int
    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    service: str
    kind: str
    offset_ms: float
    duration_ms: float
    status: str
    status_message: str | None
    attributes: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    links: Sequence[Mapping[str, Any]]
    is_orphan: bool

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, for JSON."""
        return asdict(self)


def waterfall(spans: Iterable[Mapping[str, Any]]) -> tuple[WaterfallRow, ...]:
    """Order spans (dicts with the span table's columns) depth first, siblings by start.

    A span id that comes twice counts once, the first. Spans whose parents form a circle, which
    only a broken sender makes, are shown at the root too.
    """
    by_id: dict[str, Mapping[str, Any]] = {}
    for span in spans:
        by_id.setdefault(span["span_id"], span)
    if not by_id:
        return ()
    children: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for span in sorted(by_id.values(), key=_by_start):
        parent = span["parent_span_id"]
        children[parent if parent in by_id else None].append(span)
    begin = min(span["start_ns"] for span in by_id.values())

    rows: list[WaterfallRow] = []
    shown: set[str] = set()

    def descend(roots: Iterable[Mapping[str, Any]]) -> None:
        # A stack instead of recursion: a trace may be deeper than Python's limit.
        waiting = [(span, 0) for span in reversed(list(roots))]
        while waiting:
            span, depth = waiting.pop()
            if span["span_id"] in shown:
                continue
            shown.add(span["span_id"])
            rows.append(_row(span, depth, begin, is_orphan=_is_orphan(span, by_id)))
            below = children.get(span["span_id"], [])
            waiting.extend((child, depth + 1) for child in reversed(below))

    descend(children[None])
    for span in sorted(by_id.values(), key=_by_start):
        if span["span_id"] not in shown:
            descend([span])
    return tuple(rows)


def _by_start(span: Mapping[str, Any]) -> tuple[int, str]:
    return span["start_ns"], span["span_id"]


def _is_orphan(span: Mapping[str, Any], known: Mapping[str, object]) -> bool:
    parent = span["parent_span_id"]
    return parent is not None and parent not in known


def _row(span: Mapping[str, Any], depth: int, begin: int, *, is_orphan: bool) -> WaterfallRow:
    return WaterfallRow(
        depth=depth,
        trace_id=span["trace_id"],
        span_id=span["span_id"],
        parent_span_id=span["parent_span_id"],
        name=span["name"],
        service=span["service"],
        kind=span["kind"],
        offset_ms=(span["start_ns"] - begin) / NS_PER_MS,
        duration_ms=max(0, span["end_ns"] - span["start_ns"]) / NS_PER_MS,
        status=span["status"],
        status_message=span.get("status_message"),
        attributes=span.get("attributes") or {},
        events=span.get("events") or (),
        links=span.get("links") or (),
        is_orphan=is_orphan,
    )
