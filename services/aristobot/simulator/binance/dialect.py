"""Binance's dialect put together: what the application mounts and the control endpoint steers."""

from __future__ import annotations

from aristobot.simulator.binance.limits import Limits
from aristobot.simulator.binance.market_streams import MarketStreams
from aristobot.simulator.binance.rest import BinanceRest
from aristobot.simulator.binance.streams import StreamHub
from aristobot.simulator.binance.websocket_api import WebSocketApi
from aristobot.simulator.book import Change, OrderChange
from aristobot.simulator.faults import Faults
from aristobot.simulator.matching import Exchange


class BinanceDialect:
    """REST, WebSocket API and market streams over one engine, sharing one set of limits."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self.limits = Limits()
        self.hub = StreamHub(exchange.clock)
        self.rest = BinanceRest(exchange, self.limits, faults)
        self.websocket_api = WebSocketApi(exchange, self.limits, self.hub)
        self.market_streams = MarketStreams(exchange)
        self._exchange = exchange
        exchange.change_listeners += [self._count_order, self.hub.take]
        exchange.trade_listeners.append(self.market_streams.take)

    def _count_order(self, change: Change) -> None:
        """Keep the unfilled order count: up when accepted, down with the first fill."""
        if not isinstance(change, OrderChange) or change.is_end or change.is_trigger:
            return
        api_key, now = change.order.account.api_key, self._exchange.clock.now_ms()
        if change.trade is None:
            self.limits.order_placed(api_key, now)
        elif change.order.executed == change.trade.quantity:
            self.limits.order_filled(api_key, now)

    def close(self) -> None:
        """Close every stream."""
        self.hub.close()
        self.market_streams.close()
