"""The exchange's clock: the machine's, plus a skew that the fault control may set.

Only what the exchange tells and checks (server time, order times, timestamp windows) uses `now_ms`;
timers inside the simulator (candles, late fills) use `machine_ms`, so a skew moves none of them.
"""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since the epoch, UTC."""

    def __init__(self) -> None:
        self.skew_ms = 0

    def now_ms(self) -> int:
        """The exchange's time."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    def now_us(self) -> int:
        """The exchange's time in microseconds."""
        return time.time_ns() // 1_000 + self.skew_ms * 1_000

    def machine_ms(self) -> int:
        """The machine's time, untouched by the skew."""
        return time.time_ns() // 1_000_000
