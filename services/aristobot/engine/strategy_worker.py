"""Processes one broker's decisions of strategies, in order, each exactly once in effect.

The strategies' counterpart of `webhook_worker`: one transaction records the decision, moves the
strategy's position and writes the order command to the outbox; the command is then published, and
only then is the decision acknowledged. Killed anywhere, the same decision comes again and either
finds its row (and publishes what is left) or does it all anew, with the same ids. Two decisions on
one candle have one id, so the second finds the first one's row; if it wants something else, the log
says so, and nothing is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts import trace_names as names
from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.keys import unproven_decision_id
from aristobot.contracts.messages import CancelDecision, CancelOrders, Decision
from aristobot.contracts.streams import BrokerKey, decision_subject
from aristobot.core.errors import Refused, Retryable
from aristobot.core.positions import Position
from aristobot.engine import holdings, repository
from aristobot.engine.attempts import Attempts
from aristobot.engine.decision import Outcome
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.handover import hand_over, holding_of, producer_of
from aristobot.engine.repository import Holding
from aristobot.engine.strategy_decision import (
    Actionable,
    Ruling,
    expire,
    judge,
    judge_cancel,
    refuse,
    rule,
    rule_cancel,
    rule_unasked,
)
from aristobot.platform import metrics, telemetry
from aristobot.platform.bus import Delivery
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxPublisher
from aristobot.platform.own_messages import read_own

logger = logging.getLogger(__name__)
#: How far our mirror of the strategies may be behind the runner's.
_MIRROR_LAG = timedelta(seconds=2)
_AGAIN_SECONDS = 0.2
#: A decision has no kind, so whoever lacks a side and names no kind is neither.
_ANY_DECISION: TypeAdapter[CancelDecision | Decision] = TypeAdapter(CancelDecision | Decision)


class StrategyWorker:
    """One broker's. `broker` and `strategy` give the records as they are now; None: gone."""

    def __init__(
        self,
        key: BrokerKey,
        *,
        database: Database,
        outbox: OutboxPublisher,
        gateway: GatewayClient,
        broker: Callable[[], BrokerRecord | None],
        strategy: Callable[[str], ActiveStrategyRecord | None],
    ) -> None:
        self._key = key
        self._database = database
        self._outbox = outbox
        self._gateway = gateway
        self._broker = broker
        self._strategy = strategy
        self._attempts = Attempts()

    async def handle(self, delivery: Delivery) -> None:
        """Process one decision. Raises `Retryable` when it has to come again."""
        decision = read_own(delivery, _ANY_DECISION.validate_json, _subject_of)
        if decision is None:
            return
        with telemetry.consumer_span(
            names.STRATEGIES_DECIDED,
            delivery.headers,
            {
                names.NATS_DELIVERY_COUNT: delivery.attempt,
                names.BROKER: str(self._key),
                names.STRATEGY: decision.active_strategy,
                names.SYMBOL: decision.symbol,
                names.ACTION: _action_of(decision),
                names.DECISION_ID: decision.decision_id,
            },
        ):

            async def give_up(why: str) -> None:
                ruling = Ruling(Outcome.FAILED, "internal", why, is_proven=False)
                await self._commit(decision, delivery, ruling, None)

            await self._attempts.act(delivery, lambda: self._process(decision, delivery), give_up)
            await self._outbox.flush(owner=self._key.owner, producer=producer_of(self._key))

    async def _process(self, decision: Decision | CancelDecision, delivery: Delivery) -> None:
        judged: Ruling | Actionable | CancelOrders
        if isinstance(decision, CancelDecision):
            judged = judge_cancel(decision, self._broker(), delivery.stored_at)
        else:
            strategy = self._strategy(decision.active_strategy)
            judged = judge(decision, strategy, self._broker(), delivery.stored_at)
        if isinstance(judged, Ruling):
            if not judged.is_proven and _age(delivery) < _MIRROR_LAG:
                # The runner may know a new strategy a moment before us.
                raise Retryable(judged.reason or "not proven", after_seconds=_AGAIN_SECONDS)
            await self._commit(decision, delivery, judged, None)
            return
        holding = Holding(self._key, decision.symbol, judged.holder)
        async with self._database.transaction(self._key.owner) as connection:
            before = await repository.look_back_decision(
                connection, self._key, decision.decision_id
            )
            position = await repository.read_position(connection, holding)
            open_orders = 0
            if isinstance(judged, CancelOrders):
                open_orders = await holdings.open_orders(connection, holding)
            if before.is_recorded:
                await self._say_if_other(connection, decision)
                return
        if isinstance(judged, CancelOrders):
            ruling = rule_cancel(judged, position, open_orders)
            if ruling.command is not None and _is_over(judged):
                ruling = expire("the decisions before it")
        else:
            ruling = await self._rule(judged, position, before.last_command)
        await self._commit(decision, delivery, ruling, position)

    async def _rule(
        self, actionable: Actionable, position: Position, last_command: str | None
    ) -> Ruling:
        decision = actionable.decision
        unasked = rule_unasked(decision, position)
        if unasked is not None:
            return unasked
        try:
            account = await self._gateway.sizing(
                self._key, decision.symbol, last_command, actionable.holder
            )
        except Refused as refusal:
            return refuse(refusal)
        except Retryable as error:
            if _is_over(actionable):
                return expire(str(error))
            raise
        if _is_over(actionable):
            return expire("the decisions before it")
        return rule(actionable, position, account)

    async def _commit(
        self,
        decision: Decision | CancelDecision,
        delivery: Delivery,
        ruling: Ruling,
        seen: Position | None,
    ) -> None:
        """Record the ruling. `seen`: the position that it rests on, if it rests on one."""
        row_id = decision.decision_id
        if not ruling.is_proven:
            row_id = unproven_decision_id(delivery.subject, delivery.sequence)
        with telemetry.client_span(names.RECORD_DECISION) as span:
            async with self._database.transaction(self._key.owner) as connection:
                recorded = await repository.insert_decision(
                    connection,
                    key=self._key,
                    row_id=row_id,
                    decision=decision,
                    ruling=ruling,
                    trace_id=telemetry.current_trace_id(),
                    traceparent=telemetry.current_traceparent(),
                )
                if not recorded:
                    if ruling.is_proven:
                        await self._say_if_other(connection, decision)
                    return
                command = ruling.command
                if command is not None:
                    position = await repository.lock_position(connection, holding_of(command))
                    if position != seen:
                        raise Retryable("the position has moved meanwhile", after_seconds=0.0)
                    await hand_over(
                        connection, command, ruling.begin(position), decision.decided_at
                    )
            span.set_attribute(names.DECISION, ruling.outcome.value)
            if ruling.reason is not None:
                span.set_attribute(names.REASON, ruling.reason)
        metrics.DECISIONS.labels(outcome=ruling.outcome.value).inc()
        logger.info(
            "decision recorded",
            extra={
                "decision_id": row_id,
                "broker": str(self._key),
                "strategy": decision.active_strategy,
                "outcome": ruling.outcome.value,
                "code": ruling.code,
                "client_order_id": ruling.order.client_order_id if ruling.order else None,
            },
        )

    async def _say_if_other(
        self, connection: AsyncConnection, decision: Decision | CancelDecision
    ) -> None:
        if isinstance(decision, Decision) and not await repository.is_recorded_as(
            connection, decision
        ):
            logger.warning(
                "decided otherwise before, and that counts",
                extra={
                    "decision_id": decision.decision_id,
                    "broker": str(self._key),
                    "strategy": decision.active_strategy,
                    "side": decision.side.value,
                },
            )


def _subject_of(decision: Decision | CancelDecision) -> str:
    return decision_subject(decision.key, decision.active_strategy)


def _age(delivery: Delivery) -> timedelta:
    return datetime.now(UTC) - delivery.stored_at


def _is_over(what: Actionable | CancelOrders) -> bool:
    return datetime.now(UTC) > what.valid_until


def _action_of(decision: Decision | CancelDecision) -> str:
    return decision.kind if isinstance(decision, CancelDecision) else decision.side.value
