"""What strategies hold, as the engine's books say: for `status.position`, and to wind down.

Asked for by broker every few seconds; a position that hasn't changed costs nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from decimal import Decimal

from aristobot.contracts.messages import HoldingsReply, strategy_holder
from aristobot.contracts.resources import ActiveStrategy
from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Retryable
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus
from aristobot.platform.holdings import ask_holdings
from aristobot.platform.waiting import pause
from aristobot_operator.work_queue import Key

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0
_PREFIX = strategy_holder("")

_Positions = dict[tuple[str, str], Decimal]


class Holdings:
    """`brokers` tells whom to ask about; `changed` hears of strategies whose position did."""

    def __init__(
        self, brokers: Callable[[], Iterable[BrokerKey]], changed: Callable[[Key], None]
    ) -> None:
        self._brokers = brokers
        self._changed = changed
        self._bus: Bus | None = None
        #: By broker: (holder, symbol) -> quantity.
        self._known: dict[BrokerKey, _Positions] = {}

    def position(self, owner: str, active: ActiveStrategy) -> str | None:
        """For the status: "flat" or a quantity of the base asset; None when it isn't known."""
        spec = active.spec
        known = self._known.get(BrokerKey(owner, spec.broker_ref.name))
        if known is None:
            return None
        quantity = known.get((strategy_holder(active.metadata.name), spec.symbol), Decimal(0))
        return format(quantity.normalize(), "f") if quantity > 0 else "flat"

    def brokers_of(self, owner: str, active_strategy: str) -> list[str]:
        """Where the strategy, or one of the same name before it, held something when last asked."""
        holder = strategy_holder(active_strategy)
        return sorted(
            key.broker
            for key, known in self._known.items()
            if key.owner == owner and any(held_by == holder for held_by, _ in known)
        )

    async def ask(self, key: BrokerKey, decisions: tuple[str, ...] = ()) -> HoldingsReply:
        """What is held on a broker now. Raises `Retryable`."""
        if self._bus is None:
            raise Retryable("NATS is not connected yet")
        reply = await ask_holdings(self._bus, key, decisions)
        self._take(key, reply)
        return reply

    async def run(self, bus: Bus) -> None:
        """Ask for ever; ends on cancellation."""
        self._bus = bus
        while True:
            wanted = set(self._brokers())
            for key in self._known.keys() - wanted:
                del self._known[key]
            for key in sorted(wanted):
                try:
                    # By its first word the span is never sampled, nor what follows from it.
                    with telemetry.internal_span("resync holdings"):
                        await self.ask(key)
                except Retryable as error:
                    logger.info("holdings not known", extra={"broker": str(key), "why": str(error)})
            await pause(_ASK_SECONDS)

    def _take(self, key: BrokerKey, reply: HoldingsReply) -> None:
        before = self._known.get(key, {})
        after = {(each.holder, each.symbol): each.quantity for each in reply.positions}
        is_first = key not in self._known
        self._known[key] = after
        for holder, symbol in sorted(before.keys() | after.keys()):
            differs = before.get((holder, symbol)) != after.get((holder, symbol))
            if (differs or is_first) and holder.startswith(_PREFIX):
                name = holder.removeprefix(_PREFIX)
                self._changed(Key("ActiveStrategy", key.owner, name))
