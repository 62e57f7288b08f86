"""What must be true of the candles that heartbeats have made, whatever happened to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal

from aristobot.contracts.keys import candle_id
from aristobot.contracts.messages import ClosedCandle
from aristobot.core.candle_builder import to_ms
from aristobot.core.candles import Candle, Timeframe
from tests.component.heartbeat.conftest import MARKET, Scene

Key = tuple[str, Timeframe]


def by_key(candles: list[ClosedCandle]) -> dict[Key, dict[datetime, Candle]]:
    """Candles by symbol and timeframe, then by open time. No two may be of the same time."""
    ids = Counter(candle_id(MARKET, candle.to_candle()) for candle in candles)
    doubles = {key: count for key, count in ids.items() if count > 1}
    assert not doubles, f"doubles: {doubles}"
    found: dict[Key, dict[datetime, Candle]] = defaultdict(dict)
    for candle in candles:
        found[candle.symbol, candle.timeframe][candle.open_time] = candle.to_candle()
    return dict(found)


def assert_no_gaps(found: dict[Key, dict[datetime, Candle]], until: datetime) -> None:
    """From the first one that was told, every candle that closed by `until` is there."""
    for (symbol, timeframe), candles in found.items():
        opened = min(candles)
        missing = []
        while opened + timeframe.length <= until:
            if opened not in candles:
                missing.append(opened)
            opened += timeframe.length
        assert not missing, f"{symbol} {timeframe}: {len(missing)} missing, {missing[:5]}"


def assert_equal_to_the_exchanges(scene: Scene, found: dict[Key, dict[datetime, Candle]]) -> int:
    """Every candle that the exchange still knows is its own; how many were compared."""
    compared = 0
    for (symbol, timeframe), candles in found.items():
        if timeframe is Timeframe.M10:  # the exchange has none
            continue
        rows = {row[0]: row for row in scene.klines(symbol, timeframe.value)}
        for opened, candle in candles.items():
            row = rows.get(to_ms(opened))
            if row is None:
                continue
            shown = (candle.open, candle.high, candle.low, candle.close, candle.volume)
            assert shown == tuple(Decimal(value) for value in row[1:6]), (symbol, timeframe, opened)
            assert (candle.quote_volume, candle.trades) == (Decimal(row[7]), row[8])
            compared += 1
    return compared
