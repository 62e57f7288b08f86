"""What the engine would answer of an ActiveStrategy's holdings, on the real bus."""

from __future__ import annotations

from decimal import Decimal

from nats.aio.msg import Msg

from aristobot.contracts.messages import (
    Decision,
    HolderPosition,
    HoldingsQuery,
    HoldingsReply,
    QueryReply,
    RecordedDecision,
    strategy_holder,
)
from aristobot.contracts.streams import DECISIONS, HOLDINGS_QUERIES
from aristobot.core.orders import OrderStatus, Side
from aristobot.platform.bus import Bus


class Books:
    """What the engine would answer: a position, which a decision to sell ends at once."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.held = Decimal("0.5")
        self.sales: list[Decision] = []

    async def serve(self) -> None:
        for subject in DECISIONS.subjects:
            await self._bus.client.subscribe(subject, cb=self._decided)
        await self._bus.client.subscribe(HOLDINGS_QUERIES, cb=self._answer)
        await self._bus.client.flush(timeout=2)

    async def _decided(self, message: Msg) -> None:
        decision = Decision.model_validate_json(message.data)
        assert decision.side is Side.SELL
        self.held = Decimal(0)
        self.sales.append(decision)

    async def _answer(self, message: Msg) -> None:
        query = HoldingsQuery.model_validate_json(message.data)
        position = HolderPosition(
            holder=strategy_holder("at-work"),
            symbol="BTCUSDT",
            quantity=self.held,
            has_order_under_way=False,
            open_orders=0,
        )
        recorded = {each.decision_id for each in self.sales} & set(query.decision_ids)
        reply = HoldingsReply(
            is_broker_known=True,
            positions=(position,) if self.held else (),
            decisions=tuple(
                RecordedDecision(
                    decision_id=each,
                    outcome="ordered",
                    code="ordered",
                    reason="sold",
                    order_status=OrderStatus.FILLED,
                )
                for each in recorded
            ),
        )
        await message.respond(QueryReply(holdings=reply).encode())
