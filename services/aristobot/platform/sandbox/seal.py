"""`seal`: puts all walls around the calling process, in the one order that works."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence

from aristobot.core.errors import Misconfigured
from aristobot.platform.sandbox import landlock, limits, seccomp
from aristobot.platform.sandbox.availability import ALLOW_UNSEALED, has_wall
from aristobot.platform.sandbox.limits import Limits


def seal(
    bounds: Limits,
    *,
    keep: Collection[int],
    readable: Sequence[str],
    parent_pid: int,
    allow_unsealed: bool = False,
) -> None:
    """Leave this process with its memory, its processor time, and the descriptors in `keep`.

    `readable`: what may still be read (`python_files`); nothing where Landlock is missing. The
    environment is emptied. `parent_pid`: whose end ends this process. Raises `Misconfigured` where
    this system has neither wall and `allow_unsealed` is false, and `OSError` when a wall that is
    there can't be put up: the caller must end then.
    """
    if threading.active_count() > 1:
        raise RuntimeError("only a process with a single thread can be sealed")
    has_landlock = landlock.version() > 0
    has_seccomp = seccomp.is_available()
    if not has_wall() and not allow_unsealed:
        raise Misconfigured(
            "this system has neither Landlock nor seccomp, so a strategy could read your files and "
            f"reach the network; set {ALLOW_UNSEALED}=1 to run it all the same"
        )
    limits.die_with_parent(parent_pid)
    limits.close_all_but(keep)
    os.environ.clear()
    limits.yield_to_others()
    limits.limit(bounds)
    limits.gain_nothing()
    if has_landlock:
        landlock.restrict(readable)
    if has_seccomp:
        seccomp.restrict(may_open=has_landlock)
