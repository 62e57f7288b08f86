"""Two replicas that are killed at random moments: no candle is missing and none comes twice."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from datetime import datetime

import psutil
import pytest

from tests.component.heartbeat.audit import (
    assert_equal_to_the_exchanges,
    assert_no_gaps,
    by_key,
)
from tests.component.heartbeat.conftest import MARKET, Scene
from tests.harness.platform import eventually

REPLICAS = ("heartbeat-a", "heartbeat-b")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "BNBUSDT", "DOGEUSDT")


def _count(scene: Scene) -> int:
    return int(scene.rows("SELECT count(*) AS n FROM candles")[0]["n"])


def _torment(scene: Scene, *, seed: int, candles: int, pause: tuple[float, float]) -> int:
    """Kill one replica or both again and again until so many candles are stored; how often."""
    dice = random.Random(seed)
    for replica in REPLICAS:
        scene.start_heartbeat(replica, *SYMBOLS)
    eventually(lambda: _count(scene) > 0, seconds=90, what="the first candle")
    kills = 0
    while _count(scene) < candles:
        time.sleep(dice.uniform(*pause))
        victims = REPLICAS if dice.random() < 0.25 else (dice.choice(REPLICAS),)
        for replica in victims:
            scene.kill(replica)
        kills += len(victims)
        time.sleep(dice.uniform(0, pause[0]))
        for replica in victims:
            scene.start_heartbeat(replica, *SYMBOLS)
    return kills


def _settled(scene: Scene, replicas: tuple[str, ...]) -> datetime:
    """Wait until they are connected, coherent and without gaps; the market's time then."""

    def look() -> datetime | None:
        rows = scene.rows(
            "SELECT *, (SELECT count(*) FROM heartbeat_gaps WHERE filled_at IS NULL) AS unfilled"
            " FROM heartbeat_status WHERE market = $1",
            MARKET,
        )
        fine = [
            row
            for row in rows
            # Else it is the last word of one that was killed.
            if row["started_at"] >= scene.started[row["replica"]]
            and row["is_connected"]
            and row["is_coherent"]
            and row["candles_published"]
            and not row["open_gaps"]
            and not row["unfilled"]
        ]
        return min(row["market_time"] for row in fine) if len(fine) == len(replicas) else None

    return eventually(look, seconds=120, what="coherent heartbeats without gaps")


def _judge(scene: Scene, replicas: tuple[str, ...] = REPLICAS) -> int:
    """Stop the replicas in order and look at all that was told and stored; how many candles."""
    # What is judged is the candles and not how fast a busy machine is at the end.
    scene.market_speed(20)
    until = _settled(scene, replicas)
    for replica in replicas:
        assert scene.stop(replica) == 0
    published = scene.published()
    found = by_key(published)
    assert {symbol for symbol, _ in found} == set(SYMBOLS)
    assert_no_gaps(found, until)
    assert assert_equal_to_the_exchanges(scene, found) > len(published) / 2
    stored = scene.rows("SELECT symbol, timeframe, open_time, close, volume FROM candles")
    kept = {(row["symbol"], row["timeframe"], row["open_time"]): row for row in stored}
    for (symbol, timeframe), candles in found.items():
        for opened, candle in candles.items():
            row = kept.pop((symbol, timeframe.value, opened))
            assert (row["close"], row["volume"]) == (candle.close, candle.volume)
    assert not kept, "nothing is stored that was not told"
    return len(published)


@pytest.mark.timeout(300)
def test_replicas_killed_at_random_leave_no_gap_and_no_double(scene: Scene) -> None:
    scene.start_market("--speed", "240", "--tick", "0.05")
    kills = _torment(scene, seed=4, candles=300, pause=(1.0, 2.5))
    assert kills >= 3
    assert _judge(scene) >= 300
    runs = scene.rows("SELECT replica, stopped_at FROM heartbeat_runs")
    ended = [row["replica"] for row in runs if row["stopped_at"] is not None]
    assert sorted(ended) == sorted(REPLICAS), "a killed replica has no end, a stopped one has"


@contextlib.contextmanager
def _frozen(name: str) -> Iterator[None]:
    """This test's processes of that name answer nothing meanwhile."""
    family = [p for p in psutil.Process().children(recursive=True) if p.name().startswith(name)]
    assert family
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.mark.timeout(300)
def test_signals_need_no_database_and_nothing_is_lost_while_the_bus_is_away(scene: Scene) -> None:
    scene.start_market("--speed", "120", "--tick", "0.05")
    # One symbol is followed for a strategy's sake alone, which comes while the heartbeat runs.
    scene.start_heartbeat("heartbeat-a", *SYMBOLS[:-1])
    eventually(lambda: _count(scene) > 20, seconds=90, what="the first candles")
    scene.activate_strategy(SYMBOLS[-1])
    of_strategy = "SELECT 1 FROM candles WHERE symbol = $1"
    eventually(lambda: scene.rows(of_strategy, SYMBOLS[-1]), seconds=60, what="its symbol")
    with _frozen("postgres"):
        before = scene.published_count()
        eventually(
            lambda: scene.published_count() > before + 40, seconds=60, what="signals without it"
        )
    with _frozen("nats-server"):
        time.sleep(3.0)  # longer than an acknowledgement is waited for
    before = scene.published_count()
    eventually(lambda: scene.published_count() > before + 40, seconds=60, what="signals again")
    assert _judge(scene, ("heartbeat-a",)) > 80
    gaps = scene.rows("SELECT cause FROM heartbeat_gaps")
    assert {gap["cause"] for gap in gaps} == {"the heartbeat started"}, "it never lost the market"


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_two_thousand_candles_at_sixty_times_speed(scene: Scene, seed: int) -> None:
    scene.start_market("--speed", "60", "--tick", "0.1")
    kills = _torment(scene, seed=seed, candles=2_000, pause=(1.0, 8.0))
    assert kills >= 20
    assert _judge(scene) >= 2_000
