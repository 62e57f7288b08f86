"""One pass over an ActiveStrategy: status first, then its finalizer, its credentials, its pod."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    WIND_DOWN_FINALIZER,
    runner_name,
)
from aristobot.contracts.nats_roles import strategy_runner
from aristobot.contracts.resources import OnDelete
from aristobot_operator.acting.brokers import blocked_state
from aristobot_operator.acting.children import Children, Step
from aristobot_operator.acting.credentials import Credentials
from aristobot_operator.acting.events import Events
from aristobot_operator.acting.finalizers import set_finalizer
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.acting.runners import Runners
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.acting.wind_down import WindDown
from aristobot_operator.builders.deployments import runner_deployment
from aristobot_operator.cache import Cache, is_deleting, name_of, namespace_of
from aristobot_operator.conditions import State, bad
from aristobot_operator.kube import Kube, Object
from aristobot_operator.plans.active_strategy import (
    ActiveStrategyPlan,
    Heard,
    is_left_alone,
    plan_active_strategy,
)
from aristobot_operator.reasons import Condition, EventReason, Reason
from aristobot_operator.settings import OperatorSettings

_WAIT_SECONDS = 2.0
#: The CRD takes no more.
_LONGEST_TEXT = 1024


@dataclass(frozen=True, slots=True)
class ActiveStrategies:
    """Carries out the plans of active strategies."""

    settings: OperatorSettings
    kube: Kube
    cache: Cache
    status: StatusWriter
    events: Events
    children: Children
    credentials: Credentials
    runners: Runners
    holdings: Holdings
    wind_down: WindDown

    async def reconcile(self, found: Object) -> float | None:
        """One pass. Returns the seconds after which to look again, None when only changes count.

        Raises `Retryable`, `Conflict` or `Gone`.
        """
        heard = self.runners.heard(namespace_of(found), name_of(found))
        plan = plan_active_strategy(
            self.cache, found, heard, markets=self.settings.markets, now=datetime.now(UTC)
        )
        if is_left_alone(found):
            text = "left alone, as its annotation reconcile: disabled says"
            state = State(Condition.PAUSED, "True", Reason.RECONCILE_DISABLED, text)
            await self._write(found, _with(plan.states, state), plan, heard)
            return None
        if is_deleting(found):
            return await self._let_go(found, plan, heard)
        await self._write(found, plan.states, plan, heard)
        winds_down = plan.active is not None and plan.active.spec.on_delete is not OnDelete.DETACH
        await set_finalizer(self.kube, self.cache, found, WIND_DOWN_FINALIZER, wanted=winds_down)
        if plan.record is None:
            # What can't be run must not go on running as it was: its pod rests.
            return await self._rest(found)
        blocked = await self._runner(found, plan.record, plan.replicas)
        if blocked is not None:
            await self._write(found, _with(plan.states, blocked), plan, heard)
            return _WAIT_SECONDS
        return plan.again_in.total_seconds() if plan.again_in is not None else None

    async def _let_go(self, found: Object, plan: ActiveStrategyPlan, heard: Heard) -> float | None:
        """Wind down what holds a finalizer of ours, then let the resource go."""
        if WIND_DOWN_FINALIZER not in (found["metadata"].get("finalizers") or ()):
            return None
        if plan.record is not None:
            await self._runner(found, plan.record, 0)
        else:
            await self._rest(found)
        result = await self.wind_down.step(found, plan.active)
        if result.is_done:
            await self.events.write(found, "Normal", EventReason.WOUND_DOWN, result.text)
            await set_finalizer(self.kube, self.cache, found, WIND_DOWN_FINALIZER, wanted=False)
            return None
        summary = bad(Condition.READY, Reason.WINDING_DOWN, result.text)
        await self._write(found, _with(plan.states, summary), plan, heard, phase="WindingDown")
        return _WAIT_SECONDS

    async def _rest(self, found: Object) -> float | None:
        name = runner_name(name_of(found))
        deployment = self.cache.get("Deployment", namespace_of(found), name)
        if deployment is not None and deployment["spec"].get("replicas") != 0:
            patch = {"spec": {"replicas": 0}}
            done = await self.kube.merge("Deployment", namespace_of(found), name, patch)
            self.cache.put("Deployment", done)
        return None

    async def _runner(
        self, found: Object, record: ActiveStrategyRecord, replicas: int
    ) -> State | None:
        """Its Secret and its Deployment; what keeps them from being made, or None."""
        namespace, name = record.owner, runner_name(record.name)
        role = strategy_runner(
            record.owner,
            record.name,
            record.broker,
            market=record.market,
            symbol=record.symbol,
            timeframe=record.timeframe,
        )
        secrets = await self.credentials.ensure(
            namespace,
            name,
            role,
            component="runner",
            labels={ACTIVE_STRATEGY_LABEL: record.name},
            owner=found,
        )
        wanted = runner_deployment(self.settings, found, record, replicas=replicas, secrets=secrets)
        step = await self.children.ensure(wanted)
        if step is Step.REPAIR:
            text = f"Deployment {name} was changed by somebody: put back"
            await self.events.write(found, "Normal", EventReason.DRIFT_REPAIRED, text)
        return blocked_state(step, name)

    async def _write(
        self,
        found: Object,
        states: tuple[State, ...],
        plan: ActiveStrategyPlan,
        heard: Heard,
        *,
        phase: str | None = None,
    ) -> None:
        before: dict[str, Any] = found.get("status") or {}
        more: dict[str, Any] = {
            # What isn't known now (the operator has just begun) stays as it was.
            name: before.get(name)
            for name in ("timeframe", "restarts", "lastDecision", "position")
        }
        if plan.record is not None:
            more["timeframe"] = plan.record.timeframe.value
        if heard.status is not None and heard.status.uid == found["metadata"]["uid"]:
            more["restarts"] = heard.status.restarts
            if heard.status.last_decision is not None:
                more["lastDecision"] = heard.status.last_decision[:_LONGEST_TEXT]
        if plan.active is not None:
            position = self.holdings.position(namespace_of(found), plan.active)
            if position is not None:
                more["position"] = position
        await self.status.write(found, states, phase or plan.phase, more)


def _with(states: tuple[State, ...], other: State) -> tuple[State, ...]:
    """The states with one of them replaced (or added)."""
    if all(state.type is not other.type for state in states):
        return (*states, other)
    return tuple(other if state.type is other.type else state for state in states)
