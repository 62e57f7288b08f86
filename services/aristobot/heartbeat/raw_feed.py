"""The raw trades for whoever looks, on core NATS: gathered for a moment, told once, not kept."""

from __future__ import annotations

from aristobot.contracts.messages import RawTrade, RawTrades
from aristobot.contracts.streams import raw_market_subject
from aristobot.core.candle_builder import Trade, from_ms
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import pause

_EVERY_SECONDS = 0.1
#: A moment's trades beyond this are not shown: nobody could read them.
_MOST = 500


class RawFeed:
    def __init__(self, bus: Bus, market: str, replica: str) -> None:
        self._bus = bus
        self._market = market
        self._replica = replica
        self._trades: dict[str, list[Trade]] = {}

    def put(self, trade: Trade) -> None:
        trades = self._trades.setdefault(trade.symbol, [])
        if len(trades) < _MOST:
            trades.append(trade)

    async def run(self) -> None:
        """Tell for ever; ends on cancellation."""
        while True:
            await pause(_EVERY_SECONDS)
            gathered, self._trades = self._trades, {}
            for symbol, trades in gathered.items():
                message = RawTrades(
                    market=self._market,
                    symbol=symbol,
                    replica=self._replica,
                    trades=tuple(
                        RawTrade(id=t.id, price=t.price, quantity=t.quantity, at=from_ms(t.time_ms))
                        for t in trades
                    ),
                )
                await self._bus.tell(raw_market_subject(self._market, symbol), message.encode())
