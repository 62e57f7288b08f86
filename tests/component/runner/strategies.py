"""Strategies and candles for tests of sealed processes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from aristobot.contracts.messages import StrategyContext
from aristobot.core.candles import Candle, Timeframe

EXAMPLE = (Path(__file__).parents[3] / "docs" / "examples" / "ema_10_20.py").read_text()
_START = datetime(2026, 1, 1, tzinfo=UTC)


def candles(count: int) -> list[Candle]:
    """A wave around 100 with a slow rise, a minute each."""
    return [_candle(minute) for minute in range(count)]


def endless_candles() -> Iterator[Candle]:
    return map(_candle, itertools.count())


def _candle(minute: int) -> Candle:
    price = Decimal(str(round(100 + 10 * math.sin(minute / 9) + minute * 0.01, 2)))
    return Candle(
        symbol="BTCUSDT",
        timeframe=Timeframe.M1,
        open_time=_START + timedelta(minutes=minute),
        open=price,
        high=price + 1,
        low=price - 1,
        close=price,
        volume=Decimal(3),
        quote_volume=3 * price,
        trades=7,
    )


FLAT = StrategyContext(quantity=Decimal(0), free_quote=Decimal("1000.50"))
HOLDING = StrategyContext(
    quantity=Decimal("0.5"),
    entry_price=Decimal("101.25"),
    stop_loss_price=Decimal("99.225"),
    take_profit_price=None,
    free_quote=Decimal("900"),
)


def strategy(
    *,
    top: str = "",
    init: str = "pass",
    should_long: str = "return True",
    should_short: str = "return True",
    size: str = "return 10.0",
    stop: str = "return 0.02",
    target: str = "return 0.04",
) -> str:
    """A strategy's code from the bodies of its methods; every body is one line or indented by 8."""
    return f"""{top}
class Mine(Strategy):
    def __init__(self, candles, balance, position=None):
        self.candles, self.balance, self.position = candles, balance, position
        {init}
    def should_long(self):
        {should_long}
    def should_short(self):
        {should_short}
    def calculate_position_size(self):
        {size}
    def calculate_stop_loss(self):
        {stop}
    def calculate_take_profit(self):
        {target}
"""
