"""What a strategy that is being deleted still has to do: sell what it holds, or cancel its orders.

Pure. Whoever executes the resources asks the engine what is held (`HoldingsReply`), gives the
answers and the time to `WindDown.step`, publishes what it says, and asks again some seconds later
until it says `DONE`. Nothing has to be remembered in between: an attempt's decisions follow from
the moment of deletion and the attempt's number, so a restart, a second replica or a repetition
publishes the same ones, and the engine acts on each once.

An attempt is worth acting on for less time (60 s) than lies between two of them. Even where nothing
seems to be held, one is recorded first: decisions are processed in order, so by then none that the
strategy has published before can lead to an order any more. The strategy's runner must have
stopped before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from aristobot.contracts.by_hand import cancellation_by_hand, sale_by_hand
from aristobot.contracts.keys import cancel_decision_id, manual_decision_id
from aristobot.contracts.messages import (
    CancelDecision,
    Decision,
    HolderPosition,
    HoldingsReply,
    RecordedDecision,
    strategy_holder,
)
from aristobot.core.candles import Timeframe
from aristobot.core.orders import OrderStatus, is_final

ATTEMPT_SECONDS = 90
#: Codes of a sale that was refused because the exchange takes no order that small.
_DUST = frozenset({"too_small", "nothing_held"})
_WAY_OUT = "set spec.onDelete to detach to delete the resource as it is"


class Progress(StrEnum):
    """`REFUSED`: something is in the way that the user should know of; it is tried again."""

    DONE = "done"
    UNDER_WAY = "under way"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is. `reason` is one CamelCase word, `message` a sentence for the user.

    `publish`: on DECISIONS, each under its own id; to publish one again changes nothing.
    """

    progress: Progress
    reason: str
    message: str
    publish: tuple[Decision | CancelDecision, ...] = ()


@dataclass(frozen=True, slots=True)
class WindDown:
    """One deleted strategy. `sells`: all it holds, else its orders are cancelled and coins stay.

    `broker`, `symbol` and `timeframe` are where it was at work; what it still holds elsewhere is
    dealt with as well, wherever an answer of the engine's shows it.
    """

    owner: str
    active_strategy: str
    broker: str
    symbol: str
    timeframe: Timeframe
    deleted_at: datetime
    sells: bool

    def questions(
        self, now: datetime, replies: Mapping[str, HoldingsReply]
    ) -> dict[str, tuple[str, ...]]:
        """The decisions to ask about next, by broker. `replies`: the last answers, by broker."""
        asked: dict[str, tuple[str, ...]] = {}
        for broker, symbol in self._places(replies):
            ids = (*self._sale_ids(broker, symbol, now), *self._cancel_ids(broker, symbol, now))
            asked[broker] = (*asked.get(broker, ()), *ids)
        return asked

    def step(self, now: datetime, replies: Mapping[str, HoldingsReply]) -> Step:
        """`replies`: the answers to `questions`, of now, by broker; a missing one is waited for."""
        steps = [
            self._step_at(broker, symbol, replies.get(broker), now)
            for broker, symbol in self._places(replies)
        ]
        rank = (Progress.REFUSED, Progress.UNDER_WAY, Progress.DONE)
        steps.sort(key=lambda step: rank.index(step.progress))
        return Step(
            steps[0].progress,
            steps[0].reason,
            "; ".join(dict.fromkeys(step.message for step in steps)),
            tuple(decision for step in steps for decision in step.publish),
        )

    def _places(self, replies: Mapping[str, HoldingsReply]) -> list[tuple[str, str]]:
        own = strategy_holder(self.active_strategy)
        held = {
            (broker, position.symbol)
            for broker, reply in replies.items()
            for position in reply.positions
            if position.holder == own
        }
        return sorted(held | {(self.broker, self.symbol)})

    def _step_at(
        self, broker: str, symbol: str, reply: HoldingsReply | None, now: datetime
    ) -> Step:
        if reply is None:
            return Step(
                Progress.UNDER_WAY,
                "WaitingForEngine",
                f"the engine has not said yet what is held on broker {broker}",
            )
        own = strategy_holder(self.active_strategy)
        position = next(
            (p for p in reply.positions if (p.holder, p.symbol) == (own, symbol)),
            HolderPosition(
                holder=own, symbol=symbol, quantity=0, has_order_under_way=False, open_orders=0
            ),
        )
        if not reply.is_broker_known:
            return _without_broker(broker, position, sells=self.sells)
        recorded = {decision.decision_id: decision for decision in reply.decisions}
        step = self._sell if self.sells else self._cancel
        return step(broker, position, recorded, now)

    def _sell(
        self,
        broker: str,
        position: HolderPosition,
        recorded: Mapping[str, RecordedDecision],
        now: datetime,
    ) -> Step:
        symbol = position.symbol
        if position.has_order_under_way:
            return Step(
                Progress.UNDER_WAY, "OrderUnderWay", f"an order in {symbol} is not over yet"
            )
        ids = self._sale_ids(broker, symbol, now)
        sale = _newest(ids, recorded)
        if sale is None:
            return self._ask_to_sell(broker, position, now)
        is_dust = sale.code in _DUST
        if position.quantity > 0 and not is_dust:
            if sale.decision_id != ids[0]:
                return self._ask_to_sell(broker, position, now)
            return _unsold(position, sale)
        if position.open_orders:
            return self._cancel(broker, position, recorded, now)
        if position.quantity > 0:
            left = f"{position.quantity:f} of {symbol} stays in the account"
            return Step(Progress.DONE, "DustLeft", f"{left}: {sale.reason}")
        if sale.outcome == "ordered":
            return Step(Progress.DONE, "PositionClosed", f"all it held in {symbol} is sold")
        return Step(Progress.DONE, "NothingHeld", f"it holds nothing in {symbol}")

    def _cancel(
        self,
        broker: str,
        position: HolderPosition,
        recorded: Mapping[str, RecordedDecision],
        now: datetime,
    ) -> Step:
        symbol, count = position.symbol, position.open_orders
        ids = self._cancel_ids(broker, symbol, now)
        wish = _newest(ids, recorded)
        is_open = count > 0 or position.has_order_under_way
        if wish is None or (is_open and wish.decision_id != ids[0]):
            return Step(
                Progress.UNDER_WAY,
                "CancellingOrders",
                f"the engine is asked to cancel its orders in {symbol}",
                (self._cancellation(broker, symbol, now),),
            )
        if is_open and wish.outcome in ("cancelling", "ignored"):
            return Step(
                Progress.UNDER_WAY,
                "CancellingOrders",
                f"{count} of its orders in {symbol} are not over yet",
            )
        if is_open:
            return Step(
                Progress.REFUSED,
                "CancelRefused",
                f"its orders in {symbol} are not cancelled: {wish.reason}; {_WAY_OUT}",
            )
        return Step(Progress.DONE, "OrdersCancelled", f"no order of it is open in {symbol}")

    def _ask_to_sell(self, broker: str, position: HolderPosition, now: datetime) -> Step:
        return Step(
            Progress.UNDER_WAY,
            "Selling",
            f"the engine is asked to sell what it holds in {position.symbol}",
            (self._sale(broker, position.symbol, now),),
        )

    def _sale(self, broker: str, symbol: str, now: datetime) -> Decision:
        moment = self._moments(now)[0]
        return sale_by_hand(
            owner=self.owner,
            broker=broker,
            active_strategy=self.active_strategy,
            symbol=symbol,
            timeframe=self.timeframe,
            at=moment,
        )

    def _cancellation(self, broker: str, symbol: str, now: datetime) -> CancelDecision:
        return cancellation_by_hand(
            owner=self.owner,
            broker=broker,
            active_strategy=self.active_strategy,
            symbol=symbol,
            at=self._moments(now)[0],
        )

    def _sale_ids(self, broker: str, symbol: str, now: datetime) -> tuple[str, ...]:
        return tuple(
            manual_decision_id(self.owner, self.active_strategy, broker, symbol, moment)
            for moment in self._moments(now)
        )

    def _cancel_ids(self, broker: str, symbol: str, now: datetime) -> tuple[str, ...]:
        return tuple(
            cancel_decision_id(self.owner, self.active_strategy, broker, symbol, moment)
            for moment in self._moments(now)
        )

    def _moments(self, now: datetime) -> tuple[datetime, ...]:
        """Of this attempt, and of the one before it if there was one."""
        return tuple(_moments(self.deleted_at, now))


def _moments(deleted_at: datetime, now: datetime) -> Iterator[datetime]:
    number = max(0, (now - deleted_at) // timedelta(seconds=ATTEMPT_SECONDS))
    for attempt in (number, number - 1):
        if attempt >= 0:
            yield deleted_at + attempt * timedelta(seconds=ATTEMPT_SECONDS)


def _newest(
    ids: tuple[str, ...], recorded: Mapping[str, RecordedDecision]
) -> RecordedDecision | None:
    return next((recorded[identifier] for identifier in ids if identifier in recorded), None)


def _without_broker(broker: str, position: HolderPosition, *, sells: bool) -> Step:
    """Decisions for a broker that isn't there are not processed, and so lead to no order."""
    is_left = sells and position.quantity > 0
    if not (is_left or position.open_orders or position.has_order_under_way):
        return Step(Progress.DONE, "NothingHeld", f"nothing is left to do on broker {broker}")
    what = f"{position.quantity:f} and {position.open_orders} open orders in {position.symbol}"
    return Step(
        Progress.REFUSED,
        "BrokerNotFound",
        f"it has {what} on broker {broker}, which isn't there: apply that Broker again, or "
        f"{_WAY_OUT}",
    )


def _unsold(position: HolderPosition, sale: RecordedDecision) -> Step:
    """This attempt has been ruled on, and something is held all the same."""
    held = f"{position.quantity:f} of {position.symbol}"
    status = sale.order_status
    if sale.outcome == "ordered" and status in (None, OrderStatus.FILLED):
        return Step(Progress.UNDER_WAY, "Selling", f"{held} is being sold")
    if sale.outcome == "ordered" and status is not None and not is_final(status):
        return Step(Progress.UNDER_WAY, "Selling", f"{held} is being sold; the order is {status}")
    if sale.outcome == "ignored":
        return Step(Progress.UNDER_WAY, "Selling", f"{held} is still held: {sale.reason}")
    why = sale.reason if sale.outcome != "ordered" else f"the order is {status}"
    if sale.outcome == "ordered" and sale.order_reason:
        why = f"{why}: {sale.order_reason}"
    return Step(
        Progress.REFUSED,
        "SaleRefused",
        f"{held} is not sold: {why}; it is tried again, or {_WAY_OUT}",
    )
