"""The only place an order is sent from, and the rule for sending one again.

Third step of a webhook (ingress -> engine -> gateway). The intent is on disk before the request
leaves; it is signed with the intent's timestamp, so the exchange itself refuses it once its window
has passed. The outcome is accepted, rejected, or UNKNOWN; an UNKNOWN order is looked up by its
client order id until the exchange has spoken (`resolve`). It is sent again only after the
exchange has said that it doesn't know the order, at a time when the first request can't be taken
any more. Nothing else sends. A stop and its target are one request: they are sent, refused and
sent again together, and each is looked up by its own client order id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import CancelOrder, CancelOrders, PlaceOrder
from aristobot.core.errors import Retryable
from aristobot.core.orders import OrderStatus, is_outcome_known, is_settled
from aristobot.exchanges.port import (
    Answer,
    ExchangeClient,
    ExchangeRefused,
    OrderListRequest,
    OrderReport,
    UnknownOutcome,
)
from aristobot.gateway.account_view import AccountView
from aristobot.gateway.order import Order
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.outcomes import Outcomes
from aristobot.gateway.settlement import Settlement
from aristobot.gateway.transactions import FillsMissing
from aristobot.platform import metrics, telemetry

logger = logging.getLogger(__name__)

#: Beyond the window: for the error of our estimate of the exchange's clock, and for the time an
#: accepted order may take to show up in its answers.
ABSENCE_MARGIN_MS = 2000
_PAIR_AGAIN_SECONDS = 1.0


class Sender:
    """Places, resolves and cancels for one broker."""

    def __init__(
        self,
        client: ExchangeClient,
        book: OrderBook,
        outcomes: Outcomes,
        account: AccountView,
        settlement: Settlement,
        *,
        broker: str,
        venue: str,
    ) -> None:
        self._broker = broker
        self._venue = venue
        self._client = client
        self._book = book
        self._outcomes = outcomes
        self._account = account
        self._settlement = settlement
        self._turned_away: set[str] = set()

    async def place(self, command: PlaceOrder) -> float | None:
        """Carry out a command once; a repeated one changes nothing.

        Returns None, or in how many seconds its UNKNOWN outcome is to be looked up. Raises
        `Fenced`, or `Retryable` when the database is away.
        """
        if is_too_old(command) and await self._book.find(command.command_id) is None:
            await self.refuse(command, "expired", "too old to be sent")
            return None
        order = await self._book.write_intent(command, self._client.now_ms())
        if order is None:
            known = await self._book.find(command.command_id)
            if known is None or is_outcome_known(known.status):
                return None
            return 0.0
        return await self.send((order,), command.caused_at)

    async def refuse(self, command: PlaceOrder, code: str, reason: str) -> None:
        """Record a command that is never sent."""
        await self._book.write_refused(command, code, reason)
        await self._settlement.settled(command.command_id)

    async def send(
        self, orders: Sequence[Order], caused_at: datetime | None = None
    ) -> float | None:
        """Send intents that were just written, as one request; returns as `place` does.

        Only for whoever wrote this attempt of theirs: `place`, `resolve`, and the protector.
        """
        order = orders[0]
        started = asyncio.get_running_loop().time()
        with telemetry.client_span(
            names.exchange_name("POST", self._venue), _attributes(order)
        ) as span:
            try:
                answers = await self._request(orders)
            except ExchangeRefused as refusal:
                span.set_attribute(names.OUTCOME, "rejected")
                await self._outcomes.record_refusal(
                    orders, refusal.code, str(refusal), call=refusal.call, purpose="place"
                )
                for refused in orders:
                    await self._settlement.settled(refused.command_id)
                self._log("order rejected", order, code=refusal.code, reason=str(refusal))
                return None
            except UnknownOutcome as unknown:
                span.set_attribute(names.OUTCOME, "unknown")
                await self._outcomes.record_unknown(
                    orders, str(unknown), call=unknown.call, purpose="place"
                )
                if unknown.was_turned_away:
                    self._turned_away.update(unsure.command_id for unsure in orders)
                self._log("order outcome unknown", order, reason=str(unknown))
                return unknown.retry_after_seconds
            span.set_attribute(names.OUTCOME, "accepted")
        took = asyncio.get_running_loop().time() - started
        metrics.ORDER_TO_ACK_SECONDS.labels(broker=self._broker, outcome="accepted").observe(took)
        if caused_at is not None:
            metrics.SIGNAL_TO_ORDER_SECONDS.labels(broker=self._broker).observe(
                (datetime.now(UTC) - caused_at).total_seconds()
            )
        if order.protects is None:
            await self._let_the_next_be_sized(order, answers[0])
        for accepted, answer in zip(orders, answers, strict=True):
            await self._accept(accepted, answer, "place")
        return None

    async def _request(self, orders: Sequence[Order]) -> Sequence[Answer]:
        """One request for all of `orders`; raises as the client does."""
        timestamp_ms = orders[0].sent_timestamp_ms
        if len(orders) == 1:
            return [await self._client.place(orders[0].request, timestamp_ms=timestamp_ms)]
        stop, target = orders
        if stop.list_id is None:
            raise ValueError(f"{stop.command_id} and {target.command_id} are no pair")
        answer = await self._client.place_list(
            OrderListRequest(
                symbol=stop.request.symbol,
                list_client_id=stop.list_id,
                stop=stop.request,
                target=target.request,
            ),
            timestamp_ms=timestamp_ms,
        )
        return [Answer(report, answer.call) for report in answer.reports]

    async def _let_the_next_be_sized(self, order: Order, answer: Answer) -> None:
        """Whoever waits for this order may go on now: the account has it, written down or not.

        Saves the next alert of this broker the 3 ms of our own writing.
        """
        report = answer.report
        if report is not None and is_settled(order.request.type, report.status):
            self._account.order_changed(report)
            await self._settlement.settled(order.command_id)

    async def _accept(self, order: Order, answer: Answer, purpose: str) -> None:
        report = answer.report
        if report is None:
            raise Retryable("the exchange answered without an order")
        await self.take_report(order, report, answer, purpose)
        self._turned_away.discard(order.command_id)
        self._log("order accepted", order, status=report.status.value, attempt=order.attempt)

    async def take_report(
        self, order: Order, report: OrderReport, answer: Answer | None, purpose: str
    ) -> Order | None:
        """Merge the exchange's word on one of our orders, and let those who wait know."""
        self._account.order_changed(report)
        try:
            now = await self._record(order, report, answer, purpose)
        except FillsMissing:
            # The stream was away while they happened, or the answer tells of none (a look-up).
            fills = await self._client.fills(report.symbol, report.exchange_order_id)
            try:
                now = await self._record(order, replace(report, fills=fills), answer, purpose)
            except FillsMissing as missing:
                raise Retryable(str(missing)) from missing
        if now is not None:
            await self._settlement.changed(now)
        return now

    async def _record(
        self, order: Order, report: OrderReport, answer: Answer | None, purpose: str
    ) -> Order | None:
        return await self._outcomes.record_report(
            order.request.client_order_id,
            report,
            call=answer.call if answer else None,
            purpose=purpose,
        )

    async def resolve(self, order: Order) -> float | None:
        """Look an order up and settle what is open about it.

        Returns None when its outcome is known, else in how many seconds to look again. Raises
        `Retryable` when the exchange can't be asked now, `Fenced`.
        """
        request = order.request
        with telemetry.resumed_span(names.RESOLVE_UNKNOWN, order.traceparent, _attributes(order)):
            answer = await self._client.order(request.symbol, request.client_order_id)
            if answer.report is not None:
                return await self._found(order, answer)
            await self._outcomes.record_call(order, answer.call, "look-up")
            return await self._absent(order)

    async def _found(self, order: Order, answer: Answer) -> float | None:
        await self._accept(order, answer, "look-up")
        return None

    async def _absent(self, order: Order) -> float | None:
        """The exchange doesn't know the order: send it again, give it up, or wait for certainty."""
        await self._client.measure_clock()
        closes_at = order.sent_timestamp_ms + self._client.order_window_ms + ABSENCE_MARGIN_MS
        left_ms = closes_at - self._client.now_ms()
        if left_ms > 0 and order.command_id not in self._turned_away:
            return left_ms / 1000
        sent = await self._book.pair_of(order)
        if any(part.attempt != order.attempt for part in sent):
            return 0.0  # sent again meanwhile: that window is another one
        # The answers that prove the absence must be younger than the window's end.
        for part in sent:
            answer = await self._client.order(part.request.symbol, part.request.client_order_id)
            if answer.report is not None:
                await self._found(part, answer)
                # Of a pair, the one that the exchange knows vouches for the other.
                return None if part.command_id == order.command_id else _PAIR_AGAIN_SECONDS
            await self._outcomes.record_call(part, answer.call, "look-up")
        if is_too_old(order):
            await self._outcomes.record_refusal(
                sent,
                "expired",
                "the exchange never had it, and it is too old to be sent again",
                call=None,
                purpose="look-up",
            )
            await self._settlement.settled(order.command_id)
            self._turned_away.discard(order.command_id)
            return None
        self._turned_away.difference_update(part.command_id for part in sent)
        renewed = await self._book.renew_intent(sent, self._client.now_ms())
        if renewed is None:
            return 0.0
        self._log("order is proven absent, sending it again", order, attempt=order.attempt + 1)
        return await self.send(renewed)

    async def cancel(self, command: CancelOrder) -> None:
        """Cancel an order of ours. "Nothing to cancel" may mean it was filled: so it is read."""
        order = await self._book.find_by_client_id(command.client_order_id)
        if order is None:
            logger.warning(
                "cancel of an unknown order", extra={"client_order_id": command.client_order_id}
            )
            return
        await self.cancel_order(order)

    async def cancel_order(self, order: Order) -> None:
        """Cancel, and record what the exchange says of the order then. Raises `Retryable`."""
        symbol, client_order_id = order.request.symbol, order.request.client_order_id
        with telemetry.client_span(names.exchange_name("DELETE", self._venue), _attributes(order)):
            try:
                answer = await self._client.cancel(symbol, client_order_id)
            except UnknownOutcome as unknown:
                raise Retryable(
                    str(unknown), after_seconds=max(1.0, unknown.retry_after_seconds)
                ) from unknown
            except ExchangeRefused as refusal:
                if refusal.call is not None:
                    await self._outcomes.record_call(order, refusal.call, "cancel")
                self._log("cancel refused", order, code=refusal.code, reason=str(refusal))
                return
            if answer.report is None:
                await self._outcomes.record_call(order, answer.call, "cancel")
                answer = await self._client.order(symbol, client_order_id)
            if answer.report is not None:
                await self.take_report(order, answer.report, answer, "cancel")

    def _log(self, message: str, order: Order, **fields: object) -> None:
        logger.info(
            message,
            extra={
                "client_order_id": order.request.client_order_id,
                "command_id": order.command_id,
                "symbol": order.request.symbol,
                **fields,
            },
        )


def _attributes(order: Order) -> dict[str, str | int]:
    return {
        names.SYMBOL: order.request.symbol,
        names.SIDE: order.request.side.value,
        names.CLIENT_ORDER_ID: order.request.client_order_id,
        names.NATS_DELIVERY_COUNT: order.attempt,
    }


def is_too_old(work: Order | PlaceOrder | CancelOrders) -> bool:
    """Whether it must not be sent (again) any more."""
    return work.valid_until is not None and datetime.now(UTC) > work.valid_until


def is_open(order: Order) -> bool:
    """Whether the resolver has to look after the order."""
    return order.status in (OrderStatus.SENDING, OrderStatus.UNKNOWN)
