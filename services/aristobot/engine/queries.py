"""Answers questions to the engine: what a strategy may know of its account, and what all hold.

A strategy's runner is told the strategy's own position and the free quote balance (`respond`); who
executes the resources is told what every holder has (`respond_holdings`), on a subject of its own
that no runner may ask on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from opentelemetry.trace import SpanKind

from aristobot.contracts import trace_names as names
from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.messages import (
    HoldingsQuery,
    HoldingsReply,
    QueryReply,
    StrategyContext,
    StrategyContextQuery,
    strategy_holder,
)
from aristobot.contracts.streams import BrokerKey, broker_of
from aristobot.core.errors import Retryable
from aristobot.core.sizing import is_sellable
from aristobot.engine import holdings, repository
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.repository import Holding
from aristobot.platform import telemetry
from aristobot.platform.db import Database
from aristobot.platform.query import answered


class Queries:
    """`brokers`: the records as they are now."""

    def __init__(
        self,
        database: Database,
        gateway: GatewayClient,
        brokers: Mapping[BrokerKey, BrokerRecord],
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._brokers = brokers

    async def respond(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bytes:
        """Answer a `StrategyContextQuery`."""

        async def answer(key: BrokerKey) -> QueryReply:
            query = StrategyContextQuery.model_validate_json(data)
            telemetry.annotate(strategy=query.active_strategy)
            return QueryReply(context=await self._context(key, query))

        return await _answered(names.ENGINE_QUERY, subject, headers, answer)

    async def respond_holdings(
        self, subject: str, data: bytes, headers: Mapping[str, str]
    ) -> bytes:
        """Answer a `HoldingsQuery`."""

        async def answer(key: BrokerKey) -> QueryReply:
            query = HoldingsQuery.model_validate_json(data)
            return QueryReply(holdings=await self._holdings(key, query))

        return await _answered(names.ENGINE_HOLDINGS, subject, headers, answer)

    async def _holdings(self, key: BrokerKey, query: HoldingsQuery) -> HoldingsReply:
        async with self._database.transaction(key.owner) as connection:
            # First what was decided: then what is held is at least as new, and a decision that
            # reads as recorded has moved its position already.
            recorded = await holdings.read_decisions(connection, key, query.decision_ids)
            positions = await holdings.read_holdings(connection, key)
        return HoldingsReply(
            is_broker_known=key in self._brokers, positions=positions, decisions=recorded
        )

    async def _context(self, key: BrokerKey, query: StrategyContextQuery) -> StrategyContext:
        if key not in self._brokers:
            # Not final: the asker may know a new broker a moment before us.
            raise Retryable(f"the engine knows no broker {key}")
        holding = Holding(key, query.symbol, strategy_holder(query.active_strategy))
        async with self._database.transaction(key.owner) as connection:
            position = await repository.read_position(connection, holding)
            last_command = await repository.last_command(connection, key)
        # With an order of its own under way the strategy decides nothing: no need to wait for it.
        after = None if position.has_order_under_way else last_command
        account = await self._gateway.sizing(key, query.symbol, after)
        # What is too little to be sold is none: the strategy could do nothing with it.
        is_held = is_sellable(account.rules.to_rules(), position.quantity, account.price)
        return StrategyContext(
            quantity=position.quantity if is_held else Decimal(0),
            entry_price=position.entry_price if is_held else None,
            stop_loss_price=position.stop_loss.price if is_held else None,
            take_profit_price=position.take_profit.price if is_held else None,
            has_order_under_way=position.has_order_under_way,
            free_quote=account.free_quote,
        )


async def _answered(
    destination: str,
    subject: str,
    headers: Mapping[str, str],
    answer: Callable[[BrokerKey], Awaitable[QueryReply]],
) -> bytes:
    async def reply() -> QueryReply:
        key = broker_of(subject)
        telemetry.annotate(broker=str(key))
        return await answer(key)

    with telemetry.consumer_span(destination, headers, kind=SpanKind.SERVER):
        return await answered(reply(), by="engine")
