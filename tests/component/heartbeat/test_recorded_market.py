"""Recorded real trades, played by the simulator's market feed, made into candles by a heartbeat.

The recording is the reference, not the simulator: the candles are the exchange's own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aristobot.core.candles import Timeframe
from tests import recorded
from tests.component.heartbeat.audit import assert_no_gaps, by_key
from tests.component.heartbeat.conftest import Scene
from tests.harness.platform import eventually

#: Of the two and a half days that are recorded, so many are played here.
PLAYED = timedelta(hours=12)
BEGIN = datetime(2019, 10, 11, tzinfo=UTC)


@recorded.needs_recording
@pytest.mark.timeout(300)
def test_played_trades_give_the_exchanges_own_candles(scene: Scene) -> None:
    recording = recorded.path_of(recorded.TRADES_FILE)
    replay = f"{recorded.SYMBOL}={recording}"
    scene.start_market("--replay", replay, "--speed", "0.01", "--tick", "0.03")
    scene.start_heartbeat("heartbeat-a", recorded.SYMBOL, "BTCUSDT")
    # The market waits until somebody listens, so what is seen doesn't depend on the machine.
    eventually(
        lambda: scene.rows("SELECT 1 FROM heartbeat_status WHERE is_connected AND symbols = 2"),
        seconds=60,
        what="the heartbeat's connection",
    )
    scene.market_speed(5_000)
    query = "SELECT max(open_time) AS newest FROM candles WHERE symbol = $1 AND timeframe = '1h'"
    eventually(
        lambda: (scene.rows(query, recorded.SYMBOL)[0]["newest"] or BEGIN) >= BEGIN + PLAYED,
        seconds=90,
        what="the end of what is played",
    )
    assert scene.stop("heartbeat-a") == 0
    published = [c for c in scene.published() if c.symbol == recorded.SYMBOL]
    found = by_key(published)
    assert_no_gaps(found, BEGIN + PLAYED)
    assert sum(not candle.is_late for candle in published) > len(published) * 0.9
    for timeframe in Timeframe:
        candles = found[recorded.SYMBOL, timeframe]
        expected = recorded.expected(timeframe)
        first, last = min(candles), max(candles)
        shown = {
            opened: (c.open, c.high, c.low, c.close, c.volume)
            for opened, c in candles.items()
            if c.trades
        }
        assert shown == {o: prices for o, prices in expected.items() if first <= o <= last}
        assert first <= BEGIN
    assert any(candle.is_flat for candle in found[recorded.SYMBOL, Timeframe.M1].values())
