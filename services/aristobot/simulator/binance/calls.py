"""What an endpoint's function gets and the table entry that describes it. Pure data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from aristobot.simulator.accounts import Account
from aristobot.simulator.binance.limits import Limits
from aristobot.simulator.matching import Exchange
from aristobot.simulator.orders import FillPlan


@dataclass(slots=True)
class Call:
    """One request to an endpoint. `plan` is a fault's, for endpoints that place orders."""

    exchange: Exchange
    limits: Limits
    params: dict[str, str]
    now_ms: int
    signed_by: Account | None = None
    plan: FillPlan | None = None

    @property
    def account(self) -> Account:
        """The signer; only endpoints that demand a signature may ask."""
        if self.signed_by is None:
            raise RuntimeError("The endpoint is not signed and has no account.")
        return self.signed_by


class Access(Enum):
    """What a request must carry."""

    PUBLIC = auto()
    SIGNED = auto()


Weight = Callable[[dict[str, str]], int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint's function and what it costs.

    `is_free_on_success`: order calls cost weight only when they fail (since 2026-04-02).
    """

    answer: Callable[[Call], Any]
    weight: int | Weight
    access: Access = Access.PUBLIC
    is_free_on_success: bool = False

    def weight_of(self, params: dict[str, str]) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(params)
