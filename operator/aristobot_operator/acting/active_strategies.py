"""One pass over an ActiveStrategy: status first, then its finalizer, its credentials, its pod.

One that is deleted is stopped and wound down first, and what came of it is written: that it can't
go on, too.
"""

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
from aristobot.core.errors import Retryable
from aristobot_operator.acting.events import Events
from aristobot_operator.acting.finalizers import set_finalizer
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.acting.pods import Pods
from aristobot_operator.acting.runners import Runners
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.acting.wind_down import WindDown
from aristobot_operator.builders.deployments import runner_deployment
from aristobot_operator.cache import Cache, finalizers_of, is_deleting, name_of, namespace_of
from aristobot_operator.conditions import State, bad
from aristobot_operator.kube import Denied, Kube, Object
from aristobot_operator.plans.active_strategy import (
    ActiveStrategyPlan,
    Heard,
    is_left_alone,
    plan_active_strategy,
)
from aristobot_operator.plans.concern import wants_wind_down
from aristobot_operator.plans.deployment import terminating
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
    pods: Pods
    runners: Runners
    holdings: Holdings
    wind_down: WindDown

    async def reconcile(self, found: Object) -> float | None:
        """One pass. Returns the seconds after which to look again, None when only changes count.

        Raises `Retryable`, `Conflict` or `Gone`.
        """
        heard = self.runners.heard(namespace_of(found), name_of(found))
        plan = await self._plan(found, heard)
        if is_left_alone(found):
            text = "left alone, as its annotation reconcile: disabled says"
            state = State(Condition.PAUSED, "True", Reason.RECONCILE_DISABLED, text)
            await self._write(found, _with(plan.states, state), plan, heard)
            return None
        if is_deleting(found):
            return await self._let_go(found, plan, heard)
        await self._write(found, plan.states, plan, heard)
        wanted = wants_wind_down(found)
        await set_finalizer(self.kube, self.cache, found, WIND_DOWN_FINALIZER, wanted=wanted)
        is_blocked = plan.obstacle is not None and plan.obstacle.reason != Reason.DENIED
        if plan.record is None or plan.replicas is None or is_blocked:
            if plan.replicas == 0:
                # What can't be run must not go on running as it was: its pod rests.
                await self.pods.rest(found, runner_name(name_of(found)))
            return _WAIT_SECONDS if is_blocked else None
        try:
            await self._runner(found, plan.record, plan.replicas)
        except Denied:
            plan = await self._plan(found, heard)
            await self._write(found, plan.states, plan, heard)
            raise
        return plan.again_in.total_seconds() if plan.again_in is not None else None

    async def _plan(self, found: Object, heard: Heard) -> ActiveStrategyPlan:
        obstacle = await self.pods.obstacle(found, runner_name(name_of(found)))
        return plan_active_strategy(
            self.cache, found, heard, obstacle, markets=self.settings.markets, now=datetime.now(UTC)
        )

    async def _let_go(self, found: Object, plan: ActiveStrategyPlan, heard: Heard) -> float | None:
        """Stop it, wind down what has our finalizer, and let the resource go.

        Nothing is made any more: what deletes in the foreground would delete it again, for ever.
        """
        others = [each for each in finalizers_of(found) if each != WIND_DOWN_FINALIZER]
        summary, phase = terminating(others), Reason.TERMINATING.value
        try:
            await self.pods.rest(found, runner_name(name_of(found)))
            if WIND_DOWN_FINALIZER in finalizers_of(found):
                result = await self.wind_down.step(found)
                if result.is_done:
                    await self.events.write(found, "Normal", EventReason.WOUND_DOWN, result.text)
                    await set_finalizer(
                        self.kube, self.cache, found, WIND_DOWN_FINALIZER, wanted=False
                    )
                    return None
                summary, phase = _winding_down(result.text)
        except Retryable as error:
            summary, phase = _winding_down(f"it waits: {error}")
            await self._write(found, _with(plan.states, summary), plan, heard, phase=phase)
            raise
        await self._write(found, _with(plan.states, summary), plan, heard, phase=phase)
        return _WAIT_SECONDS if summary.reason == Reason.WINDING_DOWN else None

    async def _runner(self, found: Object, record: ActiveStrategyRecord, replicas: int) -> None:
        """Its Secret and its Deployment. Raises `Denied`."""
        role = strategy_runner(
            record.owner,
            record.name,
            record.broker,
            market=record.market,
            symbol=record.symbol,
            timeframe=record.timeframe,
        )
        await self.pods.ensure(
            found,
            runner_name(record.name),
            role,
            lambda secrets: runner_deployment(
                self.settings, found, record, replicas=replicas, secrets=secrets
            ),
            component="runner",
            label={ACTIVE_STRATEGY_LABEL: record.name},
        )

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


def _winding_down(text: str) -> tuple[State, str]:
    """Ready, and the phase."""
    return bad(Condition.READY, Reason.WINDING_DOWN, text), Reason.WINDING_DOWN.value


def _with(states: tuple[State, ...], other: State) -> tuple[State, ...]:
    """The states with one of them replaced (or added)."""
    if all(state.type is not other.type for state in states):
        return (*states, other)
    return tuple(other if state.type is other.type else state for state in states)
