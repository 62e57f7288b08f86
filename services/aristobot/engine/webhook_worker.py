"""Processes one broker's webhooks, in order, each exactly once in effect.

Second step of a webhook (ingress -> engine -> gateway). One transaction records the webhook,
claims its signal, moves the position and writes the order command to the outbox; the command is
then published, and only then is the webhook acknowledged. Killed anywhere, the same webhook comes
again and either finds its row (and publishes what is left) or does it all anew, with the same ids.

While an account question can't be answered (gateway away, an order's outcome unknown) the webhook
waits, and those behind it too; once its signal is too old it is recorded as expired.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from aristobot.contracts import trace_names as names
from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.keys import webhook_id as make_webhook_id
from aristobot.contracts.messages import WEBHOOK_HOLDER, WebhookReceived
from aristobot.contracts.streams import BrokerKey
from aristobot.core.errors import Refused, Retryable
from aristobot.engine import repository
from aristobot.engine.adjustment import adjust
from aristobot.engine.attempts import Attempts
from aristobot.engine.decision import (
    Adjustable,
    Outcome,
    Tradable,
    Verdict,
    check_levels,
    decide_order,
    expire,
    judge,
    refuse,
    repeat,
)
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.handover import hand_over, holding_of, producer_of
from aristobot.platform import metrics, telemetry
from aristobot.platform.bus import Delivery
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxPublisher

logger = logging.getLogger(__name__)

#: How often a MAJ waits for an order's events to be counted; a limit order may rest for days.
_MAX_WAITS = 15
_WAIT_SECONDS = 0.2


class WebhookWorker:
    """One broker's. `record` gives the broker's settings as they are now; None if it is gone."""

    def __init__(
        self,
        key: BrokerKey,
        *,
        database: Database,
        outbox: OutboxPublisher,
        gateway: GatewayClient,
        record: Callable[[], BrokerRecord | None],
    ) -> None:
        self._key = key
        self._database = database
        self._outbox = outbox
        self._gateway = gateway
        self._record = record
        self._attempts = Attempts()

    async def handle(self, delivery: Delivery) -> None:
        """Process one webhook. Raises `Retryable` when it has to come again."""
        webhook = WebhookReceived.decode(delivery.data, delivery.headers)
        identifier = make_webhook_id(webhook.delivery_key, delivery.sequence)
        with telemetry.consumer_span(
            names.WEBHOOKS_RECEIVED,
            delivery.headers,
            {
                names.NATS_DELIVERY_COUNT: delivery.attempt,
                names.BROKER: str(self._key),
                names.WEBHOOK_ID: identifier,
            },
        ):

            async def give_up(why: str) -> None:
                verdict = Verdict(Outcome.FAILED, "internal", why)
                await self._commit(identifier, delivery.sequence, webhook, verdict)

            await self._attempts.act(
                delivery, lambda: self._process(identifier, delivery, webhook), give_up
            )
            await self._outbox.flush(owner=self._key.owner, producer=producer_of(self._key))

    async def _process(self, identifier: str, delivery: Delivery, webhook: WebhookReceived) -> None:
        async with self._database.transaction(self._key.owner) as connection:
            before = await repository.look_back_webhook(connection, self._key, identifier)
        if before.is_recorded:
            return
        verdict = await self._decide(identifier, webhook, before.last_command)
        if isinstance(verdict, Adjustable):
            await self._adjust(identifier, delivery, webhook, verdict)
        else:
            await self._commit(identifier, delivery.sequence, webhook, verdict)

    async def _decide(
        self, identifier: str, webhook: WebhookReceived, last_command: str | None
    ) -> Verdict | Adjustable:
        judged = judge(webhook, self._record())
        if isinstance(judged, Verdict):
            return judged
        try:
            account = await self._gateway.sizing(self._key, judged.symbol, last_command)
        except Refused as refusal:
            return refuse(judged, refusal)
        except Retryable as error:
            if _is_over(judged):
                return expire(judged, str(error))
            raise
        if _is_over(judged):
            return expire(judged, "the webhooks before it")
        if isinstance(judged, Tradable):
            return decide_order(judged, account, identifier, webhook.received_at)
        try:
            check_levels(judged.alert, account.price)
        except Refused as refusal:
            return refuse(judged, refusal)
        return judged

    async def _adjust(
        self,
        identifier: str,
        delivery: Delivery,
        webhook: WebhookReceived,
        adjustable: Adjustable,
    ) -> None:
        """Give the position another stop and target, as it stands once its orders are counted."""
        holding = repository.Holding(self._key, adjustable.symbol, WEBHOOK_HOLDER)
        async with self._database.transaction(self._key.owner) as connection:
            position = await repository.lock_position(connection, holding)
            if position.has_order_under_way and delivery.attempt <= _MAX_WAITS:
                raise Retryable(
                    "an order of the position is not counted yet", after_seconds=_WAIT_SECONDS
                )
            adjustment = adjust(adjustable, position, identifier, webhook.received_at)
            verdict = adjustment.verdict
            if verdict.signal_key is not None and not await repository.claim_signal(
                connection, self._key.owner, verdict.signal_key, identifier
            ):
                verdict = repeat(verdict)
            recorded = await repository.insert_webhook(
                connection,
                key=self._key,
                webhook_id=identifier,
                sequence=delivery.sequence,
                webhook=webhook,
                verdict=verdict,
                trace_id=telemetry.current_trace_id(),
                traceparent=telemetry.current_traceparent(),
            )
            is_new = recorded and verdict is adjustment.verdict
            if is_new and adjustment.command is not None and adjustment.position is not None:
                await hand_over(
                    connection, adjustment.command, adjustment.position, webhook.received_at
                )
        if recorded:  # else another engine has done and said so
            self._recorded(identifier, verdict)

    async def _commit(
        self, identifier: str, sequence: int, webhook: WebhookReceived, verdict: Verdict
    ) -> None:
        key = self._key
        with telemetry.client_span(names.RECORD_WEBHOOK) as span:
            async with self._database.transaction(key.owner) as connection:
                if verdict.signal_key is not None and not await repository.claim_signal(
                    connection, key.owner, verdict.signal_key, identifier
                ):
                    verdict = repeat(verdict)
                recorded = await repository.insert_webhook(
                    connection,
                    key=key,
                    webhook_id=identifier,
                    sequence=sequence,
                    webhook=webhook,
                    verdict=verdict,
                    trace_id=telemetry.current_trace_id(),
                    traceparent=telemetry.current_traceparent(),
                )
                command = verdict.command
                if command is not None and recorded:
                    position = await repository.lock_position(connection, holding_of(command))
                    begun = verdict.begin(position)
                    command = verdict.protected(position.quantity, begun)
                    await hand_over(connection, command, begun, webhook.received_at)
            span.set_attribute(names.DECISION, verdict.outcome.value)
            if verdict.reason is not None:
                span.set_attribute(names.REASON, verdict.reason)
        if recorded:
            self._recorded(identifier, verdict)

    def _recorded(self, identifier: str, verdict: Verdict) -> None:
        metrics.WEBHOOKS.labels(outcome=verdict.outcome.value).inc()
        logger.info(
            "webhook recorded",
            extra={
                "webhook_id": identifier,
                "broker": str(self._key),
                "outcome": verdict.outcome.value,
                "code": verdict.code,
                "client_order_id": verdict.command.client_order_id if verdict.command else None,
            },
        )


def _is_over(tradable: Tradable | Adjustable) -> bool:
    return tradable.valid_until is not None and datetime.now(UTC) > tradable.valid_until
