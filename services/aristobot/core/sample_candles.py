"""Sample candles for trying a strategy out: the same ones on every machine.

A wave on a slow rise with some roughness, around a price of 100, so that averages cross, highs and
lows are made and volumes differ. They are no market: what a strategy gains on them says nothing.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

from aristobot.core.candles import Candle, Timeframe

_START = datetime(2025, 1, 1, tzinfo=UTC)
_CENT = Decimal("0.01")


def sample_candles(count: int, timeframe: Timeframe = Timeframe.M1) -> tuple[Candle, ...]:
    """`count` candles, one after the other."""
    closes = [_price(place) for place in range(-1, count)]
    return tuple(
        _candle(place, closes[place], closes[place + 1], timeframe) for place in range(count)
    )


def _price(place: int) -> Decimal:
    wave = 8 * math.sin(place / 9) + 2 * math.sin(place / 2.3)
    roughness = (place * 7919 % 101) / 101 - 0.5
    return Decimal(str(100 + place * 0.02 + wave + roughness)).quantize(_CENT)


def _candle(place: int, opened: Decimal, closed: Decimal, timeframe: Timeframe) -> Candle:
    volume = Decimal(10 + place * 31 % 17)
    return Candle(
        symbol="SAMPLEUSDT",
        timeframe=timeframe,
        open_time=_START + place * timeframe.length,
        open=opened,
        high=max(opened, closed) + Decimal("0.3"),
        low=min(opened, closed) - Decimal("0.3"),
        close=closed,
        volume=volume,
        quote_volume=volume * closed,
        trades=20 + place % 5,
    )
