"""Whether an operator at work does its work: what its `/readyz` says.

Pure: from times and facts to sentences. Deliberately not here: what is waited for before the work
begins, which `server` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aristobot_operator.canary import AGAIN_SECONDS, LOOK_SECONDS

#: Every resource is looked at again so often, whatever was or wasn't seen.
RESYNC_SECONDS: Final = 300.0
#: Three comparisons of the watches; longer without one that succeeded, and it isn't well.
_STALE_SECONDS: Final = 3 * (LOOK_SECONDS + AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Signs:
    """Times as `time.time` has them; 0: never. `has_work`: there are resources to look at."""

    started: float
    last_success: float
    watch_agreed: float
    has_work: bool
    is_connected: bool
    is_directory_written: bool


def problems(signs: Signs, now: float) -> Iterator[str]:
    """What keeps it from doing its work."""
    if not signs.is_connected:
        yield "NATS is not connected"
    elif not signs.is_directory_written:
        yield "the directory of brokers and strategies is not written"
    passed = now - max(signs.last_success, signs.started)
    if signs.has_work and passed > RESYNC_SECONDS + _STALE_SECONDS:
        yield f"no pass over a resource succeeded for {passed:.0f} s"
    agreed = now - max(signs.watch_agreed, signs.started)
    if agreed > _STALE_SECONDS:
        yield f"no comparison found the watches true for {agreed:.0f} s"
