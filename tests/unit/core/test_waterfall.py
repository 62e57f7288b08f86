"""A waterfall shows every span once, parents before children, whatever came in."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.waterfall import waterfall


def span(span_id: str, parent: str | None = None, start: int = 0, end: int = 0) -> dict[str, Any]:
    return {
        "trace_id": "t",
        "span_id": span_id,
        "parent_span_id": parent,
        "name": f"name {span_id}",
        "service": "engine",
        "kind": "internal",
        "start_ns": start,
        "end_ns": end,
        "status": "unset",
    }


def shape(spans: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row.span_id, row.depth) for row in waterfall(spans)]


def test_no_spans() -> None:
    assert waterfall([]) == ()


def test_depth_order_and_times() -> None:
    ms = 1_000_000
    rows = waterfall(
        [
            span("c", "a", 30 * ms, 40 * ms),
            span("b", "a", 10 * ms, 20 * ms),
            span("d", "b", 15 * ms, 16 * ms),
            span("a", None, 5 * ms, 50 * ms),
        ]
    )
    assert [(r.span_id, r.depth, r.offset_ms, r.duration_ms) for r in rows] == [
        ("a", 0, 0.0, 45.0),
        ("b", 1, 5.0, 10.0),
        ("d", 2, 10.0, 1.0),
        ("c", 1, 25.0, 10.0),
    ]


def test_orphans_and_several_roots_stand_at_the_root() -> None:
    rows = waterfall([span("b", "lost", 2), span("a", None, 1), span("z", None, 3), span("c", "b")])
    assert [(r.span_id, r.depth, r.is_orphan) for r in rows] == [
        ("a", 0, False),
        ("b", 0, True),
        ("c", 1, False),
        ("z", 0, False),
    ]


def test_a_span_that_came_twice_counts_once() -> None:
    assert shape([span("a"), span("b", "a", 1), span("b", "a", 1)]) == [("a", 0), ("b", 1)]


def test_circles_are_shown() -> None:
    spans = [span("a", "b", 1), span("b", "a", 2), span("c", "c", 3), span("d", None, 4)]
    assert shape(spans) == [("d", 0), ("a", 0), ("b", 1), ("c", 0)]


def test_a_clock_that_runs_behind_gives_no_negative_number() -> None:
    (parent, child) = waterfall([span("a", None, 100, 90), span("b", "a", 50, 60)])
    assert (parent.offset_ms, child.offset_ms, parent.duration_ms) == (50 / 1e6, 0.0, 0.0)


def test_deep_traces() -> None:
    spans = [span("0")] + [span(str(n), str(n - 1), n) for n in range(1, 5_000)]
    assert shape(spans)[-1] == ("4999", 4_999)


@given(
    st.dictionaries(
        st.integers(0, 15), st.tuples(st.none() | st.integers(0, 20), st.integers(0, 5))
    ),
    st.randoms(use_true_random=False),
)
def test_every_span_once_in_an_order_that_arrival_does_not_change(
    tree: dict[int, tuple[int | None, int]], chance: random.Random
) -> None:
    spans = [
        span(str(key), None if parent is None else str(parent), start)
        for key, (parent, start) in tree.items()
    ]
    rows = waterfall(spans)
    assert sorted(row.span_id for row in rows) == sorted(str(key) for key in tree)
    depth_of: dict[str, int] = {}
    for row in rows:
        if row.depth:
            assert depth_of[str(row.parent_span_id)] == row.depth - 1
        depth_of[row.span_id] = row.depth
    chance.shuffle(spans)
    assert waterfall(spans) == rows
