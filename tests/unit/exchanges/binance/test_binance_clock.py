"""The exchange's clock is believed only as far as the round trip allows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from aristobot.core.errors import Retryable
from aristobot.exchanges.binance.clock import LONGEST_ROUND_TRIP_MS, ExchangeClock


@dataclass
class Time:
    """A wall clock that stands where it is put; each answer takes `round_trip_ms`."""

    now_ms: float = 1_000_000.0
    round_trip_ms: float = 10.0
    ahead_ms: float = 500.0

    async def server_ms(self) -> int:
        self.now_ms += self.round_trip_ms
        return int(self.now_ms - self.round_trip_ms / 2 + self.ahead_ms)


def clock_of(time: Time) -> ExchangeClock:
    return ExchangeClock(wall=lambda: time.now_ms / 1000, monotonic=lambda: time.now_ms / 1000)


async def test_offset_is_found() -> None:
    time = Time()
    clock = clock_of(time)
    await clock.measure(time.server_ms)
    assert abs(clock.offset_ms - time.ahead_ms) < 1


async def test_slow_answers_change_nothing() -> None:
    time = Time()
    clock = clock_of(time)
    await clock.measure(time.server_ms)
    before = clock.offset_ms
    time.round_trip_ms = LONGEST_ROUND_TRIP_MS + 1
    time.ahead_ms = 9000.0
    with pytest.raises(Retryable):
        await clock.measure(time.server_ms)
    assert clock.offset_ms == before
