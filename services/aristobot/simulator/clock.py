"""The exchange's clocks: the machine's, plus a skew that the fault control may set; the market's.

Only what the exchange tells and checks (server time, order times, timestamp windows) uses `now_ms`;
timers inside the simulator (late fills) use `machine_ms`, so a skew moves none of them. Public
trades and candles live in the market's time, which may run many times as fast and begin elsewhere
(at a recording's beginning); it never goes back, also not over a restart.
"""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since the epoch, UTC. `speed`: how fast the market's time runs, once started."""

    def __init__(self, speed: float = 1.0) -> None:
        self.skew_ms = 0
        self.speed = speed
        self._machine_origin_ms = 0
        self._market_origin_ms = 0

    def start_market(self, market_ms: int) -> None:
        """Let the market's time be `market_ms` now and run on from there."""
        self._machine_origin_ms = self.machine_ms()
        self._market_origin_ms = market_ms

    def market_ms(self) -> int:
        """The market's time."""
        passed = max(0, self.machine_ms() - self._machine_origin_ms)
        return self._market_origin_ms + int(passed * self.speed)

    def now_ms(self) -> int:
        """The exchange's time."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    def now_us(self) -> int:
        """The exchange's time in microseconds."""
        return time.time_ns() // 1_000 + self.skew_ms * 1_000

    def machine_ms(self) -> int:
        """The machine's time, untouched by the skew."""
        return time.time_ns() // 1_000_000
