"""The words that tools may rely on are the ones that the docs name, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aristobot_operator.reasons import Condition, EventReason, Reason

DOCS = (Path(__file__).parents[3] / "docs" / "resources.md").read_text(encoding="utf-8")
SECTION = DOCS.split("## Conditions and reasons")[1].split("<!-- From here on generated")[0]
NAMED = set(re.findall(r"`([A-Z][A-Za-z]+)`", SECTION))
#: The runner's own, passed on as they are, and a resource's kind.
OTHERS = {"Warming", "Refused"}


@pytest.mark.parametrize("word", [*Condition, *Reason, *EventReason])
def test_every_word_is_named(word: str) -> None:
    assert str(word) in NAMED


def test_nothing_is_named_that_isn_t_there() -> None:
    assert {str(word) for word in (*Condition, *Reason, *EventReason)} >= NAMED - OTHERS
