"""Winds down a deleted ActiveStrategy: asks, lets `contracts.wind_down` decide, publishes.

Nothing is remembered: every step asks anew and publishes decisions whose ids follow from the moment
of deletion, so a killed operator, or two of them, sell once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aristobot.contracts.kubernetes import ACTIVE_STRATEGY_LABEL
from aristobot.contracts.messages import HoldingsReply
from aristobot.contracts.resources import OnDelete
from aristobot.contracts.streams import BrokerKey
from aristobot.contracts.wind_down import Progress
from aristobot.contracts.wind_down import WindDown as Winding
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.decisions import publish_decision
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.cache import Cache, name_of, namespace_of
from aristobot_operator.kube import Object
from aristobot_operator.plans.concern import wants_wind_down


@dataclass(frozen=True, slots=True)
class WindDownResult:
    """`text`: what was done, or what is still to be done."""

    is_done: bool
    text: str


class WindDown:
    def __init__(self, cache: Cache, holdings: Holdings) -> None:
        self._cache = cache
        self._holdings = holdings
        self._bus: Bus | None = None

    def use(self, bus: Bus) -> None:
        self._bus = bus

    async def step(self, found: Object) -> WindDownResult:
        """One step. Raises `Retryable` when the engine or NATS is away.

        The spec is read as it stands: what it holds has to be sold also when the rest of the spec
        can't be read (the model is another than when it was applied).
        """
        if not wants_wind_down(found):
            return WindDownResult(True, "deleted as it is: what it holds stays")
        owner, name = namespace_of(found), name_of(found)
        if self._cache.labelled("Pod", owner, ACTIVE_STRATEGY_LABEL, name):
            return WindDownResult(False, "its pod is ending")
        try:
            winding = _winding(found)
        except ValueError as error:
            text = f"this operator can't do what its spec asks for ({error}): set spec.onDelete to "
            return WindDownResult(False, f"{text}detach to delete it as it is")
        now = datetime.now(UTC)
        step = winding.step(now, await self._replies(winding, now))
        for decision in step.publish:
            if self._bus is None:
                raise Retryable("NATS is not connected yet")
            await publish_decision(self._bus, decision)
        return WindDownResult(step.progress is Progress.DONE, step.message)

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


def _winding(found: Object) -> Winding:
    """Raises `ValueError` when its spec asks for what this code doesn't know."""
    spec = found["spec"]
    # What it ran on, for the record of the sale; the status knows when the strategy named it.
    known = (found.get("status") or {}).get("timeframe")
    return Winding(
        owner=namespace_of(found),
        active_strategy=name_of(found),
        broker=spec["brokerRef"]["name"],
        symbol=spec["symbol"],
        timeframe=Timeframe(spec.get("timeframe") or known or Timeframe.M1),
        deleted_at=datetime.fromisoformat(found["metadata"]["deletionTimestamp"]),
        sells=OnDelete(spec["onDelete"]) is OnDelete.CLOSE_POSITIONS,
    )
