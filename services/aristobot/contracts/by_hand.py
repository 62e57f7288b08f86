"""Decisions that a person, or whoever deletes a strategy, makes for it: sell all, cancel orders.

Their ids follow from strategy, place and moment, so the same wish repeated is one. Deliberately
not here: publishing them (`platform.decisions`), and what the engine makes of them.
"""

from __future__ import annotations

from datetime import datetime

from aristobot.contracts.keys import cancel_decision_id, manual_decision_id
from aristobot.contracts.messages import AskedBy, CancelDecision, Decision
from aristobot.core.candles import Timeframe
from aristobot.core.orders import Side


def sale_by_hand(
    *,
    owner: str,
    broker: str,
    active_strategy: str,
    symbol: str,
    timeframe: Timeframe,
    at: datetime,
) -> Decision:
    """Sell, at market, all that the strategy holds of the symbol on the broker."""
    return Decision(
        decision_id=manual_decision_id(owner, active_strategy, broker, symbol, at),
        owner=owner,
        broker=broker,
        active_strategy=active_strategy,
        symbol=symbol,
        timeframe=timeframe,
        candle_close=at,
        side=Side.SELL,
        asked_by=AskedBy.MANUAL,
        decided_at=at,
    )


def cancellation_by_hand(
    *, owner: str, broker: str, active_strategy: str, symbol: str, at: datetime
) -> CancelDecision:
    """Cancel every open order of the strategy; what it holds stays."""
    return CancelDecision(
        kind="cancel_orders",
        decision_id=cancel_decision_id(owner, active_strategy, broker, symbol, at),
        owner=owner,
        broker=broker,
        active_strategy=active_strategy,
        symbol=symbol,
        decided_at=at,
    )
