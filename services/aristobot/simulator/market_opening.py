"""Puts the market together when the simulator starts: recordings, pairs, and its time.

The market's time begins with ours, or with the earliest recording, and after a restart where it
had come to. Its speed may be changed while it runs. Not here: how it moves (`market`).
"""

from __future__ import annotations

from aristobot.simulator.candles import MINUTE_MS
from aristobot.simulator.clock import Clock
from aristobot.simulator.market import Market
from aristobot.simulator.pairs import PAIRS, list_pair
from aristobot.simulator.replay import pair_of, read_recording
from aristobot.simulator.settings import SimulatorSettings


def open_market(settings: SimulatorSettings, clock: Clock) -> Market:
    """Read the recordings and list their pairs; `Misconfigured` names what is wrong with one."""
    recordings = {symbol: read_recording(symbol, path) for symbol, path in settings.replays.items()}
    for recording in recordings.values():
        list_pair(pair_of(recording))
    begins = min((r.starts_ms for r in recordings.values()), default=None)
    return Market(
        dict(PAIRS),
        seed=settings.seed,
        tick_seconds=settings.tick_seconds,
        # A moment before the recording's first minute, which is then played whole.
        now_ms=clock.machine_ms() if begins is None else begins - begins % MINUTE_MS - 1,
        speed=settings.speed,
        recordings=recordings,
    )


def start_market(market: Market, clock: Clock) -> None:
    """Let time pass from where the market stands: its beginning, or where it was kept last."""
    clock.start_market(market.now_ms)
    market.start(market.now_ms)


def change_speed(market: Market, clock: Clock, speed: float) -> None:
    """Let the market's time run `speed` times as fast from now on; 0 stops it."""
    clock.start_market(clock.market_ms())
    clock.speed = speed
    market.set_speed(speed)
