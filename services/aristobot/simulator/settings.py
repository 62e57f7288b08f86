"""What the simulator is told at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Where to listen, where to keep the journal, and how the market moves.

    `data_dir` None keeps everything in memory. The same `seed` gives the same walk.
    `tick_seconds` is the time between two prices of a pair (and between two looks at resting
    orders); it must be above zero. `port` 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 8890
    data_dir: Path | None = None
    seed: int = 1
    tick_seconds: float = 0.5
