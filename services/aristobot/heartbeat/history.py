"""Fetches minutes that were missed, through the gateway of any broker of the market.

The gateway is the only way to an exchange's REST; which broker's doesn't matter, since candles are
public. Not here: which minutes are missing, and what becomes of them (`repair`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import CandlesQuery, QueryEnvelope
from aristobot.contracts.streams import BrokerKey, query_subject
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.query import ask

_TIMEOUT_SECONDS = 10.0
_MOST = 1000
_MINUTE = Timeframe.M1.length
#: After so many answers that end before the last minute, look whether the exchange has none.
_PATIENCE = 10


class MinuteHistory:
    """`brokers`: those of the market, as they are now."""

    def __init__(self, bus: Bus, brokers: Callable[[], Sequence[BrokerKey]]) -> None:
        self._bus = bus
        self._brokers = brokers
        self._asked = 0

    async def minutes(
        self, symbol: str, start: datetime, end: datetime, *, attempt: int = 0
    ) -> list[Candle]:
        """The closed minutes of [start, end), without a hole, as far as there are any.

        Minutes that the exchange has no candle for (it was down) are flat. The answer ends before
        `end` when the last ones have not closed yet: ask again. Raises `Retryable` or `Refused`.
        """
        found: list[Candle] = []
        # A later minute shows that the exchange has none for the last ones of the span.
        until = end + _MINUTE * 2 if attempt >= _PATIENCE else end
        cursor = start
        while cursor < end:
            page = await self._page(symbol, cursor, until)
            if not page:
                break
            found += page
            cursor = page[-1].close_time
        return [minute for minute in without_holes(found) if minute.open_time < end]

    async def _page(self, symbol: str, start: datetime, end: datetime) -> list[Candle]:
        brokers = self._brokers()
        if not brokers:
            raise Retryable("no broker of this market could be asked", after_seconds=1.0)
        # Another one each time: one gateway that is away must not keep the gap open.
        broker = brokers[self._asked % len(brokers)]
        self._asked += 1
        query = CandlesQuery(
            symbol=symbol, timeframe=Timeframe.M1, start=start, end=end, limit=_MOST
        )
        reply = await ask(
            self._bus,
            query_subject(broker),
            QueryEnvelope(query=query).encode(),
            destination=names.GATEWAY_QUERY,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
        if reply.candles is None:
            raise Retryable("the gateway's answer can't be read")
        return [candle.to_candle() for candle in reply.candles.candles]


def without_holes(minutes: Sequence[Candle]) -> Iterator[Candle]:
    """The minutes, with flat ones where the exchange has none between two."""
    before: Candle | None = None
    for minute in minutes:
        while before is not None and before.close_time < minute.open_time:
            before = _flat_after(before)
            yield before
        yield minute
        before = minute


def _flat_after(minute: Candle) -> Candle:
    price, nothing = minute.close, Decimal(0)
    return replace(
        minute,
        open_time=minute.close_time,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=nothing,
        quote_volume=nothing,
        trades=0,
    )
