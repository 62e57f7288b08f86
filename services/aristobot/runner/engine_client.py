"""Asks the engine what a strategy may know of its account: its position and the free balance."""

from __future__ import annotations

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import StrategyContext, StrategyContextQuery
from aristobot.contracts.streams import BrokerKey, engine_query_subject
from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.query import ask

#: The engine asks the gateway in turn, which waits up to 1.5 s for the last order to settle.
_TIMEOUT_SECONDS = 5.0


async def strategy_context(
    bus: Bus, key: BrokerKey, *, active_strategy: str, symbol: str
) -> StrategyContext:
    """Raises `Refused` (unknown broker or symbol) or `Retryable`."""
    query = StrategyContextQuery(active_strategy=active_strategy, symbol=symbol)
    reply = await ask(
        bus,
        engine_query_subject(key),
        query.encode(),
        destination=names.ENGINE_QUERY,
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    if reply.context is None:
        raise Retryable("the engine's answer can't be read")
    return reply.context
