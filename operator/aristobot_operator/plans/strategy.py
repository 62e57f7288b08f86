"""How a Strategy fares: whether its code is there. What the code does, only its process finds."""

from __future__ import annotations

from aristobot.contracts.resources import Strategy
from aristobot_operator.cache import Cache, namespace_of
from aristobot_operator.conditions import State, bad, good
from aristobot_operator.kube import Object
from aristobot_operator.plans.seen import Problem, code_of, parsed
from aristobot_operator.reasons import Condition, Reason


def plan_strategy(cache: Cache, found: Object) -> tuple[State, ...]:
    """Its conditions, Ready first."""
    strategy = parsed(cache, found, Strategy)
    code = strategy if isinstance(strategy, Problem) else None
    if isinstance(strategy, Strategy):
        given = code_of(cache, namespace_of(found), strategy)
        code = given if isinstance(given, Problem) else None
    if code is not None:
        accepted = bad(Condition.ACCEPTED, code.reason, code.text)
        return (State(Condition.READY, "False", code.reason, code.text), accepted)
    text = "its code is there; an ActiveStrategy that runs it says whether it works"
    return (
        good(Condition.READY, Reason.READY, text),
        good(Condition.ACCEPTED, Reason.ACCEPTED, "its spec can be carried out"),
    )
