"""What the simulator is told at start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aristobot.contracts.kubernetes import SIMULATOR_PORT
from aristobot.core.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Where to listen, where to keep the journal, and how the market moves.

    `data_dir` None keeps everything in memory. The same `seed` gives the same walk.
    `tick_seconds` is the time between two prices of a pair (and between two looks at resting
    orders); it must be above zero. `port` 0 takes a free one. `speed`: how many times as fast as
    ours the market's time runs. `replays`: pairs whose trades come from a recording.
    """

    host: str = "127.0.0.1"
    port: int = SIMULATOR_PORT
    data_dir: Path | None = None
    seed: int = 1
    tick_seconds: float = 0.5
    speed: float = 1.0
    replays: Mapping[str, Path] = field(default_factory=dict)


def parse_replays(options: Iterable[str]) -> dict[str, Path]:
    """Read `SYMBOL=FILE` options; `Misconfigured` for one of another form."""
    replays: dict[str, Path] = {}
    for option in options:
        symbol, separator, file = option.partition("=")
        if not (symbol and separator and file):
            raise Misconfigured(f"--replay {option!r}: write it as SYMBOL=FILE.")
        replays[symbol.upper()] = Path(file)
    return replays
