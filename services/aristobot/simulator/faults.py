"""Misbehaviour on demand: which faults are armed, and which of them hits a request.

A fault is armed through the control endpoint and looked up by the dialects at the moment it can
act: `find` rolls its probability, `consume` counts it as having happened. The two are apart because
a fault that needs an accepted order (a lost answer) must not be used up by a refused one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from aristobot.simulator.orders import FillPlan


class FaultKind(StrEnum):
    """What can go wrong. Each dialect says how it looks on its wire."""

    ANSWER_LOST = "answer_lost"
    ERROR_5XX = "error_5xx"
    RATE_LIMIT = "rate_limit"
    BAN = "ban"
    PARTIAL_FILL = "partial_fill"
    LATE_FILL = "late_fill"
    DROP_SOCKET = "drop_socket"
    MUTE_STREAM = "mute_stream"
    CLOCK_SKEW = "clock_skew"
    DELAY = "delay"
    SLOW_ANSWER = "slow_answer"


@dataclass(slots=True)
class Fault:
    """One armed fault. `remaining` None: until removed. Empty filters match everything."""

    id: int
    kind: FaultKind
    remaining: int | None
    probability: float
    method: str | None
    path: str | None
    api_key: str | None
    seconds: float
    accepted: bool = False
    status: int = 503
    fraction: Decimal = Decimal("0.5")
    rest_expires: bool = False
    happened: int = 0

    def matches(self, method: str, path: str, api_key: str | None) -> bool:
        """Whether the fault is meant for such a request."""
        return (
            (self.method is None or self.method == method)
            and (self.path is None or self.path == path)
            and (self.api_key is None or self.api_key == api_key)
        )

    def fill_plan(self) -> FillPlan:
        """How a `partial_fill` or `late_fill` stretches an order's fills."""
        is_late = self.kind is FaultKind.LATE_FILL
        fraction = Decimal(0) if is_late else self.fraction
        return FillPlan(fraction, self.seconds, rest_expires=self.rest_expires and not is_late)


class Faults:
    """The armed faults, oldest first. Its dice are seeded, so a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self._armed: dict[int, Fault] = {}
        self._dice = random.Random(f"{seed}:faults")
        self._next_id = 1

    def next_id(self) -> int:
        """An id for a fault to be armed."""
        self._next_id += 1
        return self._next_id - 1

    def arm(self, fault: Fault) -> None:
        self._armed[fault.id] = fault

    def armed(self) -> list[Fault]:
        return list(self._armed.values())

    def disarm(self, fault_id: int) -> Fault | None:
        """Remove one; None if it is not armed (any more)."""
        return self._armed.pop(fault_id, None)

    def find(self, kind: FaultKind, method: str, path: str, api_key: str | None) -> Fault | None:
        """The oldest matching fault whose dice say yes; it stays armed until `consume`."""
        if not self._armed:
            return None
        for fault in self._armed.values():
            if (
                fault.kind is kind
                and fault.matches(method, path, api_key)
                and (fault.probability >= 1 or self._dice.random() < fault.probability)
            ):
                return fault
        return None

    def consume(self, fault: Fault) -> None:
        """Count the fault as having happened; the last time disarms it."""
        fault.happened += 1
        if fault.remaining is not None:
            fault.remaining -= 1
            if fault.remaining <= 0:
                self._armed.pop(fault.id, None)
