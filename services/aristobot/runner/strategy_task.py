"""One active strategy at work: its candles come in, its decisions go out.

For each closed candle (heartbeat -> runner -> engine -> gateway): is it still worth acting on, is
the history whole, what does the account hold; then the sealed process decides within its time, and
the decision is published under an id that follows from strategy and candle. A candle is
acknowledged only after that, so a killed runner's is decided again, perhaps otherwise (what it
holds may have changed by the first decision); the id is the same, and the first verdict counts.
Deliberately not here: the user's code (it runs in `runner.sealed_child`), sizes and orders.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from aristobot.contracts import trace_names as names
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.keys import decision_id
from aristobot.contracts.messages import (
    ClosedCandle,
    Decision,
    StrategyContext,
    StrategyPhase,
    StrategyStatus,
)
from aristobot.contracts.streams import (
    CANDLES,
    candle_subject,
    runner_consumer,
)
from aristobot.core.candles import Candle
from aristobot.core.errors import Misconfigured, Refused
from aristobot.core.orders import Side
from aristobot.platform import metrics, telemetry
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.decisions import publish_decision
from aristobot.platform.waiting import patiently
from aristobot.runner.answers import StrategyAnswer, StrategyFailed
from aristobot.runner.engine_client import strategy_context
from aristobot.runner.history import fetch_history
from aristobot.runner.sandbox import Sandbox, SealedSession
from aristobot.runner.window import Window

logger = logging.getLogger(__name__)

#: After the n-th failure in a row 2**n - 1 candles are skipped, at most so many.
_LONGEST_PAUSE = 60

Report = Callable[[StrategyStatus], None]


class StrategyTask:
    """Runs until cancelled. `report` is told of every change of the strategy's state."""

    def __init__(
        self, record: ActiveStrategyRecord, *, bus: Bus, sandbox: Sandbox, report: Report
    ) -> None:
        self._record = record
        self._bus = bus
        self._report = report
        self._window = Window(record.timeframe, record.history_candles)
        self._session = SealedSession(sandbox, record)
        self._status = record.say(StrategyPhase.STARTING, "Starting", "its process is being made")
        self._failures = 0
        self._skip = 0

    async def run(self) -> None:
        record = self._record
        if not record.active or record.paused:
            # Resumed, it begins with what is new, not with all that closed meanwhile.
            await self._bus.delete_consumer(CANDLES, runner_consumer(record.owner, record.name))
            if record.active:
                self._say(StrategyPhase.PAUSED, "Suspended", "suspended, to be resumed")
            else:
                self._say(StrategyPhase.PAUSED, "Stopped", "stopped; it decides nothing any more")
            return
        self._say(StrategyPhase.WARMING, "Warming", "its candles are being read")
        try:
            await patiently(f"history of {record.symbol}", self._fill_window)
            newest = self._window.newest
            if newest is not None and not record.is_in_window(newest.close_time):
                self._say(*self._outside(newest.close_time))
            else:
                await self._warm_up()
            await self._bus.consume(
                CANDLES,
                candle_subject(record.market, record.symbol, record.timeframe),
                runner_consumer(record.owner, record.name),
                self._handle,
                only_new=True,
            )
        except (Refused, Misconfigured) as refusal:
            # No repetition helps: a person has to change something.
            self._say(StrategyPhase.FAILED, "Refused", str(refusal))
        finally:
            await self._session.close()

    async def _warm_up(self) -> None:
        """Make the process before the first candle, so that this one isn't late."""
        newest = self._window.newest
        try:
            await self._session.ready(self._window.until(newest.close_time) if newest else ())
        except StrategyFailed as failure:
            self._failed(failure)
            return
        self._say(StrategyPhase.RUNNING, "Running", "it decides on the next candle")

    async def _fill_window(self, end: datetime | None = None) -> None:
        record = self._record
        self._window.add(
            await fetch_history(
                self._bus,
                record.key,
                symbol=record.symbol,
                timeframe=record.timeframe,
                count=record.history_candles,
                end=end,
            )
        )

    async def _handle(self, delivery: Delivery) -> None:
        """One candle. Raises `Retryable` when it has to come again."""
        message = ClosedCandle.model_validate_json(delivery.data)
        candle = message.to_candle()
        self._window.add((candle,))
        with telemetry.consumer_span(
            names.CANDLES_CLOSED,
            delivery.headers,
            {
                names.NATS_DELIVERY_COUNT: delivery.attempt,
                names.BROKER: str(self._record.key),
                names.SYMBOL: candle.symbol,
                names.STRATEGY: self._record.name,
            },
        ):
            if self._is_to_be_decided(candle, message, delivery.stored_at):
                await self._decide(candle, delivery.stored_at)

    def _is_to_be_decided(self, candle: Candle, message: ClosedCandle, stored_at: datetime) -> bool:
        record, newest = self._record, self._window.newest
        if newest is not None and newest.open_time > candle.open_time:
            return False  # fetched late; a newer one has been decided on or will be
        if not record.is_in_window(candle.close_time):
            self._say(*self._outside(candle.close_time), closed=candle)
            return False
        age = (datetime.now(UTC) - stored_at).total_seconds() + message.late_seconds
        if age > record.max_signal_age_seconds:
            self._say(
                StrategyPhase.RUNNING,
                "SignalTooOld",
                f"the candle came {age:.0f} s after its close, "
                f"more than maxSignalAgeSeconds ({record.max_signal_age_seconds})",
                closed=candle,
            )
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        return True

    async def _decide(self, candle: Candle, stored_at: datetime) -> None:
        record = self._record
        if not self._window.is_whole(candle.close_time):
            await self._fill_window(candle.close_time)
        context = await strategy_context(
            self._bus, record.key, active_strategy=record.name, symbol=record.symbol
        )
        if context.has_order_under_way:
            self._say(
                StrategyPhase.RUNNING, "OrderUnderWay", "its last order is not over", closed=candle
            )
            return
        try:
            with telemetry.internal_span(names.DECIDE_STRATEGY) as span:
                answer = await self._ask(candle, context)
                span.set_attribute(names.OUTCOME, answer.action)
        except StrategyFailed as failure:
            self._failed(failure, closed=candle)
            return
        self._failures = 0
        self._printed(answer.printed)
        if answer.action != "none":
            if not await self._publish(candle, answer):
                self._say(
                    StrategyPhase.RUNNING,
                    "DecidedBefore",
                    "the candle was decided before; that verdict counts",
                    closed=candle,
                )
                return
            metrics.CANDLE_TO_DECISION_SECONDS.labels(broker=str(record.key)).observe(
                (datetime.now(UTC) - stored_at).total_seconds()
            )
        self._say(
            StrategyPhase.RUNNING,
            "Running",
            answer.remark or "it decides on each closed candle",
            closed=candle,
            decided=None if answer.action == "none" else answer.action,
        )

    async def _ask(self, candle: Candle, context: StrategyContext) -> StrategyAnswer:
        before = self._window.until(candle.open_time)
        return await self._session.decide(before, candle, context)

    async def _publish(self, candle: Candle, answer: StrategyAnswer) -> bool:
        """Whether it is the first verdict on the candle; another one the stream doesn't take."""
        record = self._record
        side = Side.BUY if answer.action == "buy" else Side.SELL
        decision = Decision(
            decision_id=decision_id(record.owner, record.name, record.uid, candle.close_time),
            owner=record.owner,
            broker=record.broker,
            active_strategy=record.name,
            symbol=record.symbol,
            timeframe=record.timeframe,
            candle_close=candle.close_time,
            side=side,
            quote_amount=answer.quote_amount if side is Side.BUY else None,
            stop_loss=answer.stop_loss if side is Side.BUY else None,
            take_profit=answer.take_profit if side is Side.BUY else None,
            decided_at=datetime.now(UTC),
        )
        ack = await publish_decision(self._bus, decision)
        logger.info(
            "decided before" if ack.duplicate else "decided",
            extra={
                "strategy": f"{record.owner}.{record.name}",
                "side": side.value,
                "candle_close": candle.close_time.isoformat(),
                "decision_id": decision.decision_id,
            },
        )
        return not ack.duplicate

    def _failed(self, failure: StrategyFailed, *, closed: Candle | None = None) -> None:
        """Its own fault: said in its status, tried again with ever fewer candles."""
        self._failures += 1
        self._skip = min(2**self._failures - 1, _LONGEST_PAUSE)
        self._printed(failure.printed)
        self._say(StrategyPhase.FAILED, failure.reason, str(failure), closed=closed)
        logger.warning(
            "strategy failed",
            extra={
                "strategy": f"{self._record.owner}.{self._record.name}",
                "reason": failure.reason,
                "error": str(failure),
            },
        )

    def _printed(self, lines: tuple[str, ...]) -> None:
        """What its code printed stands in our log, under its name."""
        for line in lines:
            logger.info(
                "strategy printed",
                extra={"strategy": f"{self._record.owner}.{self._record.name}", "line": line},
            )

    def _outside(self, moment: datetime) -> tuple[StrategyPhase, str, str]:
        start = self._record.start
        if start is not None and moment < start:
            return StrategyPhase.OUTSIDE_WINDOW, "NotStarted", f"it starts at {_text(start)}"
        end = self._record.end
        return (
            StrategyPhase.OUTSIDE_WINDOW,
            "Ended",
            f"it ended at {_text(end)}" if end else "it ended",
        )

    def _say(
        self,
        phase: StrategyPhase,
        reason: str,
        message: str,
        *,
        closed: Candle | None = None,
        decided: str | None = None,
    ) -> None:
        changes: dict[str, object] = {
            "phase": phase,
            "reason": reason,
            "message": message,
            "candles": len(self._window),
            "restarts": self._session.restarts,
            "memory_bytes": self._session.memory_bytes(),
        }
        if closed is not None:
            changes["last_candle_close"] = closed.close_time
        if decided is not None and closed is not None:
            changes["last_decision"] = f"{decided} on the candle of {_text(closed.close_time)}"
        self._status = self._status.model_copy(update=changes)
        self._report(self._status)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
