"""When an operator at work is not well: times that lie too far back, and what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aristobot_operator.canary import AGAIN_SECONDS, LOOK_SECONDS
from aristobot_operator.health import RESYNC_SECONDS, Signs, problems

NOW = 1_000_000.0
#: More than the resync and three comparisons.
LONG_AGO = NOW - RESYNC_SECONDS - 3 * (LOOK_SECONDS + AGAIN_SECONDS) - 1
WELL = Signs(
    started=LONG_AGO,
    last_success=NOW - RESYNC_SECONDS,
    watch_agreed=NOW - LOOK_SECONDS,
    has_work=True,
    is_connected=True,
    is_directory_written=True,
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"is_connected": False}, ["NATS is not connected"]),
        ({"is_connected": False, "is_directory_written": False}, ["NATS is not connected"]),
        ({"is_directory_written": False}, ["directory"]),
        ({"last_success": LONG_AGO}, ["no pass over a resource succeeded for 421 s"]),
        ({"last_success": 0.0}, ["no pass over a resource succeeded for 421 s"]),
        ({"last_success": LONG_AGO, "has_work": False}, []),
        ({"watch_agreed": LONG_AGO}, ["no comparison found the watches true for 421 s"]),
        ({"watch_agreed": 0.0, "has_work": False}, ["no comparison found the watches true"]),
        # One that has just begun has had no time yet, whatever it did as the one before.
        ({"started": NOW - 1, "last_success": 0.0, "watch_agreed": 0.0}, []),
    ],
)
def test_it_says_what_is_wrong(change: dict[str, float | bool], said: list[str]) -> None:
    found = list(problems(replace(WELL, **change), NOW))
    assert len(found) == len(said)
    assert all(text in each for text, each in zip(said, found, strict=True))
