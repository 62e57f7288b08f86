"""What an ActiveStrategy needs and how it fares.

The way of every pass: can it be run at all (Accepted), is its broker there and does it trade for
strategies (BrokerResolved), should it run now (Paused), does its pod (Deployed), do its candles
come (MarketDataFresh), and what does the runner itself say. Ready is the first of these that isn't
well. Deliberately not here: winding down (`contracts.wind_down`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aristobot.contracts.active_strategies import trading_mode_problem
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    RECONCILE_ANNOTATION,
    runner_name,
)
from aristobot.contracts.messages import StrategyPhase, StrategyStatus
from aristobot.contracts.resources import ActiveStrategy, Broker
from aristobot_operator.cache import Cache, annotations_of, is_deleting, name_of, namespace_of
from aristobot_operator.conditions import State, bad, condition_of, good, unknown
from aristobot_operator.kube import Object
from aristobot_operator.plans.deployment import deployed
from aristobot_operator.plans.seen import Problem, broker_of, parsed, record_or_problem
from aristobot_operator.reasons import Condition, Reason

#: The pod is there before the first candle that may be acted on.
WARM_UP = timedelta(minutes=2)
#: A candle comes at its close; one that is missing so long after the next should have is late.
_CANDLE_SLACK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Heard:
    """What came from elsewhere than the API server.

    `status`: the runner's word; `candle_age`: since its last candle changed, by our clock.
    """

    status: StrategyStatus | None = None
    candle_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ActiveStrategyPlan:
    """`record` None: it can't be run. `again_in`: when time alone will change the plan.

    `replicas` None: what runs is left as it is, since nothing says that it should be otherwise.
    """

    active: ActiveStrategy | None
    record: ActiveStrategyRecord | None
    replicas: int | None
    states: tuple[State, ...]
    phase: str
    again_in: timedelta | None = None
    obstacle: State | None = None


def plan_active_strategy(
    cache: Cache,
    found: Object,
    heard: Heard,
    obstacle: State | None,
    *,
    markets: Sequence[str],
    now: datetime,
) -> ActiveStrategyPlan:
    """`obstacle`: what keeps its pod from being made.

    Raises nothing: whatever is wrong with the resource becomes a condition.
    """
    active = parsed(cache, found, ActiveStrategy)
    if isinstance(active, Problem):
        return _unusable(None, active)
    record = record_or_problem(cache, found, active)
    if isinstance(record, Problem):
        return _unusable(active, record)
    namespace, name = namespace_of(found), name_of(found)
    paused, again_in = pausing(active, now)
    replicas = 0 if paused.is_true or is_deleting(found) else 1
    child = obstacle or deployed(
        cache.get("Deployment", namespace, runner_name(name)),
        cache.labelled("Pod", namespace, ACTIVE_STRATEGY_LABEL, name),
        replicas=replicas,
    )
    said = _said_of(record, heard.status)
    fresh, stale_in = _market_data(record, heard, said, markets, is_running=replicas > 0)
    states = (
        good(Condition.ACCEPTED, Reason.ACCEPTED, "its spec can be carried out"),
        _broker(cache, namespace, active),
        paused,
        child,
        fresh,
    )
    summary = _summary(states, said)
    return ActiveStrategyPlan(
        active,
        record,
        replicas,
        (summary, *states),
        _phase(summary, paused, said),
        min((each for each in (again_in, stale_in) if each is not None), default=None),
        obstacle,
    )


def pausing(active: ActiveStrategy, now: datetime) -> tuple[State, timedelta | None]:
    """Whether it is to rest, and after how long the clock will change that."""
    spec = active.spec
    if not spec.active:
        return _rests(Reason.STOPPED, "stopped: set spec.active to true to start it again"), None
    if spec.paused:
        return _rests(Reason.SUSPENDED, "suspended: set spec.paused to false to resume it"), None
    if spec.end is not None and now >= spec.end:
        return _rests(Reason.AFTER_END, f"its end, {_text(spec.end)}, has passed"), None
    if spec.start is not None and now < spec.start - WARM_UP:
        text = f"it begins at {_text(spec.start)}"
        return _rests(Reason.BEFORE_START, text), spec.start - WARM_UP - now
    again_in = spec.end - now if spec.end is not None else None
    return bad(Condition.PAUSED, Reason.RUNNING, "it is to run now"), again_in


def is_left_alone(found: Object) -> bool:
    """Whether somebody told the operator to keep its hands off the resource."""
    return annotations_of(found).get(RECONCILE_ANNOTATION) == "disabled"


def _rests(reason: Reason, text: str) -> State:
    return good(Condition.PAUSED, reason, text)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _unusable(active: ActiveStrategy | None, problem: Problem) -> ActiveStrategyPlan:
    # The broker's absence is told by the condition of that name; the rest isn't known then.
    is_broker = problem.reason in (Reason.BROKER_NOT_FOUND, Reason.BROKER_NOT_READY)
    kind = Condition.BROKER_RESOLVED if is_broker else Condition.ACCEPTED
    states = [State(Condition.READY, "False", problem.reason, problem.text)]
    if is_broker:
        text = "its spec can be carried out"
        states.append(good(Condition.ACCEPTED, Reason.ACCEPTED, text))
    states.append(bad(kind, problem.reason, problem.text))
    # A Broker that is there and can't be read may well be trading.
    replicas = None if problem.reason == Reason.BROKER_NOT_READY else 0
    return ActiveStrategyPlan(active, None, replicas, tuple(states), "Failed")


def _broker(cache: Cache, namespace: str, active: ActiveStrategy) -> State:
    name = active.spec.broker_ref.name
    broker = broker_of(cache, namespace, name)
    assert isinstance(broker, Broker)  # or there would be no record
    if problem := trading_mode_problem(broker):
        return bad(Condition.BROKER_RESOLVED, Reason.TRADING_MODE, problem)
    found = cache.get("Broker", namespace, name) or {}
    summary = condition_of(found.get("status") or {}, Condition.READY)
    if summary is None or summary.get("status") != "True":
        why = (summary or {}).get("message", "it was not looked at yet")
        return bad(
            Condition.BROKER_RESOLVED, Reason.BROKER_NOT_READY, f"Broker {name} isn't ready: {why}"
        )
    return good(Condition.BROKER_RESOLVED, Reason.BROKER_FOUND, f"Broker {name} is ready")


def _said_of(record: ActiveStrategyRecord, status: StrategyStatus | None) -> StrategyStatus | None:
    """The runner's word, if it is about this resource as it is now."""
    return status if status is not None and record.is_meant_by(status) else None


def _market_data(
    record: ActiveStrategyRecord,
    heard: Heard,
    said: StrategyStatus | None,
    markets: Sequence[str],
    *,
    is_running: bool,
) -> tuple[State, timedelta | None]:
    kind = Condition.MARKET_DATA_FRESH
    if record.market not in markets:
        text = (
            f"no heartbeat follows market {record.market}: add it to the chart's value "
            "heartbeat.markets"
        )
        return bad(kind, Reason.NO_HEARTBEAT, text), None
    if not is_running or said is None or heard.candle_age is None:
        text = "it waits for its first candle" if is_running else "it doesn't run"
        return unknown(kind, Reason.NOT_RUNNING, text), None
    limit = 2 * record.timeframe.length + _CANDLE_SLACK
    if heard.candle_age > limit:
        text = f"no {record.timeframe} candle of {record.symbol} for {_rough(heard.candle_age)}"
        return bad(kind, Reason.STALE, text), None
    text = f"{record.timeframe} candles of {record.symbol} come"
    return good(kind, Reason.FRESH, text), limit - heard.candle_age + timedelta(seconds=1)


def _rough(age: timedelta) -> str:
    # Rounded, so that the status isn't written anew every minute of an outage.
    minutes = int(age.total_seconds() // 60)
    return f"over {minutes // 60} h" if minutes >= 60 else f"over {max(minutes // 5 * 5, 1)} min"


def _summary(states: Sequence[State], said: StrategyStatus | None) -> State:
    for state in states:
        is_bad = state.is_true if state.type is Condition.PAUSED else state.status == "False"
        if is_bad:
            return State(Condition.READY, "False", state.reason, state.message)
    if said is None:
        text = "the runner has not begun with it yet"
        return State(Condition.READY, "False", Reason.STARTING, text)
    truth = "True" if said.phase is StrategyPhase.RUNNING else "False"
    return State(Condition.READY, truth, said.reason, said.message)  # type: ignore[arg-type]


def _phase(summary: State, paused: State, said: StrategyStatus | None) -> str:
    if paused.is_true:
        words = {Reason.STOPPED: "Stopped", Reason.AFTER_END: "Ended"}
        return words.get(Reason(paused.reason), "Paused")
    if summary.is_true:
        return StrategyPhase.RUNNING.value
    if said is not None and said.phase is not StrategyPhase.RUNNING:
        return said.phase.value
    is_starting = summary.reason in (Reason.STARTING, Reason.DEPLOYING, Reason.BROKER_NOT_READY)
    return StrategyPhase.STARTING.value if is_starting else StrategyPhase.FAILED.value
