"""The simulated market: one seeded random walk per pair, its spread, public trades and candles.

Each pair has a random generator of its own, so the same seed gives the same prices whatever else
happens. The market knows no orders and no accounts: `matching.Exchange` asks it for quotes and
tells its listeners about new prices. Liquidity is unlimited at the best bid and ask.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from aristobot.simulator.candles import Candle, CandleHistory
from aristobot.simulator.pairs import Pair

_SIGMA_PER_MINUTE = 0.0005
_HALF_SPREAD = Decimal("0.00005")
_ONE = Decimal(1)
_TRADE_IDS_PER_SECOND = 100


class Quote(NamedTuple):
    """Best prices now and the last traded one."""

    bid: Decimal
    ask: Decimal
    last: Decimal


class PublicTrade(NamedTuple):
    """One trade of the anonymous market. Its ids are numbered apart from accounts' fills."""

    id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    time_ms: int
    is_buyer_maker: bool


class PairMarket:
    """One pair's price, recent trades and candles."""

    def __init__(self, pair: Pair, seed: int, tick_seconds: float, now_ms: int) -> None:
        self.pair = pair
        self.price = pair.start_price
        # The walk goes on between ticks: many steps are finer than a tick and must add up.
        self._exact = float(pair.start_price)
        self.is_frozen = False
        self.trades: deque[PublicTrade] = deque(maxlen=1_000)
        self._dice = random.Random(f"{seed}:{pair.symbol}")
        self._sigma = _SIGMA_PER_MINUTE * math.sqrt(tick_seconds / 60)
        # Ids grow with time, so a restart never gives an id twice.
        self._next_trade_id = now_ms // 1000 * _TRADE_IDS_PER_SECOND
        self.candles = CandleHistory(self.price, now_ms)
        self._quote = self._make_quote()

    @property
    def quote(self) -> Quote:
        return self._quote

    def invent_past(self) -> None:
        """Give a new market a past to be charted."""
        self.candles.invent_past(random.Random(f"{self.pair.symbol}:past"))

    def step(self, now_ms: int) -> tuple[PublicTrade, list[Candle]]:
        """Move the price by one tick (unless frozen) and trade once; also the minutes closed."""
        closed = self.candles.close_until(now_ms)
        if not self.is_frozen:
            self._exact *= math.exp(self._sigma * self._dice.gauss(0, 1))
            self._show(Decimal(self._exact))
        return self._trade(now_ms), closed

    def set_price(self, price: Decimal, now_ms: int) -> tuple[PublicTrade, list[Candle]]:
        """Jump to a price; it must be a positive multiple of the tick."""
        closed = self.candles.close_until(now_ms)
        self.put_price(price)
        return self._trade(now_ms), closed

    def put_price(self, price: Decimal) -> None:
        """Set the price without a trade (also used by the journal's replay)."""
        self._exact = float(price)
        self._show(price)

    def _show(self, price: Decimal) -> None:
        ticked = (price / self.pair.tick).to_integral_value(ROUND_HALF_UP) * self.pair.tick
        self.price = min(max(ticked, self.pair.tick * 2), self.pair.maximum_price)
        self._quote = self._make_quote()

    def _make_quote(self) -> Quote:
        tick = self.pair.tick
        half = max((self.price * _HALF_SPREAD / tick).to_integral_value(ROUND_HALF_UP), _ONE) * tick
        return Quote(self.price - half, self.price + half, self.price)

    def _trade(self, now_ms: int) -> PublicTrade:
        is_taker_buy = self._dice.random() < 0.5
        worth = Decimal(20 + int(self._dice.random() * 2_000))
        step = self.pair.quantity_step
        quantity = max((worth / self.price / step).to_integral_value(ROUND_HALF_UP), _ONE) * step
        trade = PublicTrade(
            self._next_trade_id, self.pair.symbol, self.price, quantity, now_ms, not is_taker_buy
        )
        self._next_trade_id += 1
        self.trades.append(trade)
        self.candles.add_trade(self.price, quantity, is_taker_buy=is_taker_buy, now_ms=now_ms)
        return trade


class Market:
    """All pairs. `pairs[symbol]` raises KeyError for an unlisted symbol."""

    def __init__(
        self, pairs: Mapping[str, Pair], *, seed: int, tick_seconds: float, now_ms: int
    ) -> None:
        self.pairs: dict[str, PairMarket] = {
            symbol: PairMarket(pair, seed, tick_seconds, now_ms) for symbol, pair in pairs.items()
        }

    def invent_past(self) -> None:
        """Give every pair a past."""
        for pair in self.pairs.values():
            pair.invent_past()

    def quote(self, symbol: str) -> Quote:
        return self.pairs[symbol].quote
