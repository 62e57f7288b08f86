"""A candle and the timeframes it can have; shared by heartbeat, runner, gateway and backtest.

Times are UTC. A candle of the interval [open_time, close_time) belongs to one symbol of one
*market*: an exchange in one environment, for the simulator's prices are not Binance's. Deliberately
not here: making candles of trades (`core.candle_builder`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(StrEnum):
    """How long a candle lasts. All are whole minutes and begin at multiples of their length."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"

    @property
    def length(self) -> timedelta:
        return _LENGTHS[self]

    def open_of(self, moment: datetime) -> datetime:
        """When the candle that holds `moment` opened."""
        return moment - (moment - _EPOCH) % self.length


_LENGTHS = {
    Timeframe.M1: timedelta(minutes=1),
    Timeframe.M3: timedelta(minutes=3),
    Timeframe.M5: timedelta(minutes=5),
    Timeframe.M10: timedelta(minutes=10),
    Timeframe.M15: timedelta(minutes=15),
    Timeframe.H1: timedelta(hours=1),
    Timeframe.H2: timedelta(hours=2),
    Timeframe.H4: timedelta(hours=4),
}


@dataclass(frozen=True, slots=True)
class Candle:
    """One closed candle. Volumes in base and quote; a flat one had no trade (`trades` 0)."""

    symbol: str
    timeframe: Timeframe
    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int

    @property
    def close_time(self) -> datetime:
        """The first moment that is not part of it: the next candle's `open_time`."""
        return self.open_time + self.timeframe.length

    @property
    def is_flat(self) -> bool:
        return self.trades == 0
