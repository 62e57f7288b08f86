"""Conditions of a resource's status: pure functions from what was observed to what is written.

The conventions are Kubernetes' own (api-conventions.md, "Typical status properties"): a list by
type, `lastTransitionTime` moves only when `status` flips, every condition says which generation it
was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from aristobot_operator.reasons import Condition

Truth = Literal["True", "False", "Unknown"]
#: metav1.Condition allows 32768 bytes; nobody reads so much.
_LONGEST_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class State:
    """One condition as observed now. `reason`: one CamelCase word; `message`: a sentence."""

    type: Condition
    status: Truth
    reason: str
    message: str

    @property
    def is_true(self) -> bool:
        return self.status == "True"


def good(kind: Condition, reason: str, message: str) -> State:
    return State(kind, "True", reason, message)


def bad(kind: Condition, reason: str, message: str) -> State:
    return State(kind, "False", reason, message)


def unknown(kind: Condition, reason: str, message: str) -> State:
    return State(kind, "Unknown", reason, message)


def make_status(
    states: Iterable[State],
    *,
    generation: int,
    phase: str,
    before: Mapping[str, Any],
    now: datetime,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole status. `before`: the one that stands there, for the times of transition."""
    known = {each["type"]: each for each in before.get("conditions") or ()}
    conditions = []
    for state in states:
        former = known.get(state.type)
        since = (
            former["lastTransitionTime"]
            if former is not None and former.get("status") == state.status
            else now.isoformat(timespec="seconds").replace("+00:00", "Z")
        )
        conditions.append(
            {
                "type": state.type.value,
                "status": state.status,
                "reason": str(state.reason),
                "message": state.message[:_LONGEST_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    wanted = {name: value for name, value in (more or {}).items() if value is not None}
    return {
        "observedGeneration": generation,
        "phase": phase,
        **wanted,
        "conditions": conditions,
    }


def status_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """The merge patch that makes `after` of `before`; None when they are equal."""
    if dict(before) == dict(after):
        return None
    gone = {name: None for name in before if name not in after}
    return {**gone, **after}


def condition_of(status: Mapping[str, Any], kind: Condition) -> Mapping[str, Any] | None:
    """The condition of that type in a status, None when it isn't there."""
    for each in status.get("conditions") or ():
        if each.get("type") == kind.value:
            found: Mapping[str, Any] = each
            return found
    return None
