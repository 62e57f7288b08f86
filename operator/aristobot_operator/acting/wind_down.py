"""Winds down a deleted ActiveStrategy: asks, lets `contracts.wind_down` decide, publishes.

Nothing is remembered: every step asks anew and publishes decisions whose ids follow from the moment
of deletion, so a killed operator, or two of them, sell once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aristobot.contracts import trace_names as names
from aristobot.contracts.kubernetes import ACTIVE_STRATEGY_LABEL
from aristobot.contracts.messages import CancelDecision, Decision, HoldingsReply
from aristobot.contracts.resources import ActiveStrategy, OnDelete
from aristobot.contracts.streams import DECISIONS, BrokerKey, decision_subject
from aristobot.contracts.wind_down import Progress
from aristobot.contracts.wind_down import WindDown as Winding
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Retryable
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.cache import Cache, name_of, namespace_of
from aristobot_operator.kube import Object


@dataclass(frozen=True, slots=True)
class WindDownResult:
    """`reason`: one CamelCase word; `text`: what was done, or what is still to be done."""

    is_done: bool
    reason: str
    text: str


class WindDown:
    def __init__(self, cache: Cache, holdings: Holdings) -> None:
        self._cache = cache
        self._holdings = holdings
        self._bus: Bus | None = None

    def use(self, bus: Bus) -> None:
        self._bus = bus

    async def step(self, found: Object, active: ActiveStrategy | None) -> WindDownResult:
        """One step. Raises `Retryable` when the engine or NATS is away."""
        if active is None:
            text = "its spec can't be read: set spec.onDelete to detach to delete it as it is"
            return WindDownResult(False, "Invalid", text)
        if active.spec.on_delete is OnDelete.DETACH:
            return WindDownResult(True, "Detached", "deleted as it is: what it holds stays")
        owner, name = namespace_of(found), name_of(found)
        if self._cache.labelled("Pod", owner, ACTIVE_STRATEGY_LABEL, name):
            return WindDownResult(False, "StoppingRunner", "its pod is ending")
        winding = Winding(
            owner=owner,
            active_strategy=name,
            broker=active.spec.broker_ref.name,
            symbol=active.spec.symbol,
            timeframe=_timeframe(found, active),
            deleted_at=datetime.fromisoformat(found["metadata"]["deletionTimestamp"]),
            sells=active.spec.on_delete is OnDelete.CLOSE_POSITIONS,
        )
        now = datetime.now(UTC)
        step = winding.step(now, await self._replies(winding, now))
        for decision in step.publish:
            await self._publish(decision)
        return WindDownResult(step.progress is Progress.DONE, step.reason, step.message)

    async def _replies(self, winding: Winding, now: datetime) -> dict[str, HoldingsReply]:
        """The answers to all that it asks; one may show a position that there is more to ask of.

        A strategy of the same name may have left one in another symbol, or on another broker.
        """
        owner, asked = winding.owner, dict[str, set[str]]()
        replies = {
            broker: await self._holdings.ask(BrokerKey(owner, broker))
            for broker in self._holdings.brokers_of(owner, winding.active_strategy)
        }
        while True:
            more = {
                broker: ids
                for broker, ids in winding.questions(now, replies).items()
                if not asked.get(broker, set()).issuperset(ids)
            }
            if not more:
                return replies
            for broker, ids in more.items():
                asked.setdefault(broker, set()).update(ids)
                replies[broker] = await self._holdings.ask(
                    BrokerKey(owner, broker), tuple(asked[broker])
                )

    async def _publish(self, decision: Decision | CancelDecision) -> None:
        if self._bus is None:
            raise Retryable("NATS is not connected yet")
        with telemetry.producer_span(names.STRATEGIES_DECIDED) as carrier:
            await self._bus.publish(
                DECISIONS,
                decision_subject(decision.key, decision.active_strategy),
                decision.encode(),
                message_id=decision.decision_id,
                headers=carrier,
            )


def _timeframe(found: Object, active: ActiveStrategy) -> Timeframe:
    """What it ran on, for the record of the sale; the status knows when the strategy named it."""
    known = (found.get("status") or {}).get("timeframe")
    return active.spec.timeframe or Timeframe(known or Timeframe.M1)
