"""Fetches closed candles from the exchange of the strategy's own broker, through its gateway.

Never from another exchange and never from the candles that the heartbeat stored: what a strategy
sees must be what its orders will meet. Fewer than asked for is normal, for a young symbol has no
longer history.
"""

from __future__ import annotations

from datetime import datetime

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import CandlesQuery, QueryEnvelope
from aristobot.contracts.streams import BrokerKey, query_subject
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.query import ask

_TIMEOUT_SECONDS = 10.0


async def fetch_history(
    bus: Bus,
    key: BrokerKey,
    *,
    symbol: str,
    timeframe: Timeframe,
    count: int,
    end: datetime | None = None,
) -> tuple[Candle, ...]:
    """The newest `count` closed candles (that opened before `end`), oldest first.

    Raises `Refused` when the exchange doesn't know the symbol, `Retryable` when it or its gateway
    can't be asked now.
    """
    start = end - timeframe.length * count if end is not None else None
    query = CandlesQuery(symbol=symbol, timeframe=timeframe, start=start, end=end, limit=count)
    reply = await ask(
        bus,
        query_subject(key),
        QueryEnvelope(query=query).encode(),
        destination=names.GATEWAY_QUERY,
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    if reply.candles is None:
        raise Retryable("the gateway's answer can't be read")
    return tuple(candle.to_candle() for candle in reply.candles.candles)
