"""The candles that a strategy sees: the newest ones of its symbol and timeframe, without a hole.

Filled with history and then with each closed candle; late ones find their place. Pure. Deliberately
not here: fetching what is missing (`runner.history`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from aristobot.core.candles import Candle, Timeframe


class Window:
    """At most `size` candles, ordered by time. Of two for the same time the newer word counts."""

    def __init__(self, timeframe: Timeframe, size: int) -> None:
        self._timeframe = timeframe
        self._size = size
        self._candles: dict[datetime, Candle] = {}

    def __len__(self) -> int:
        return len(self._candles)

    @property
    def newest(self) -> Candle | None:
        return self._candles[max(self._candles)] if self._candles else None

    def add(self, candles: Iterable[Candle]) -> None:
        for candle in candles:
            self._candles[candle.open_time] = candle
        for opened in sorted(self._candles)[: -self._size]:
            del self._candles[opened]

    def until(self, moment: datetime) -> tuple[Candle, ...]:
        """The candles that closed at or before `moment`, oldest first, back to the first hole."""
        length = self._timeframe.length
        found: list[Candle] = []
        opened = moment - length
        while (candle := self._candles.get(opened)) is not None:
            found.append(candle)
            opened -= length
        return tuple(reversed(found))

    def is_whole(self, moment: datetime) -> bool:
        """Whether nothing is missing between the oldest candle and the one closing at `moment`."""
        if not self._candles:
            return False
        held = self.until(moment)
        return bool(held) and held[0].open_time == min(self._candles)
