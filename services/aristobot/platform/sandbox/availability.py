"""What this operating system offers to seal a strategy with, in plain sentences.

For `aristobot doctor` and `aristobot up`. It only asks; nothing is restricted by asking.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from aristobot.platform.sandbox import landlock, libc, seccomp

#: The environment variable that lets strategies run where nothing seals them.
ALLOW_UNSEALED = "ARISTOBOT_ALLOW_UNSEALED"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`sentence` says what it keeps a strategy from, or what its absence lets a strategy do."""

    name: str
    available: bool
    sentence: str


def available() -> tuple[Mechanism, ...]:
    """Each mechanism, whether it is there or not."""
    return (_seccomp(), _landlock(), _limits())


def has_wall() -> bool:
    """Whether strategies can be sealed at all: at least one of seccomp and Landlock is there."""
    return seccomp.is_available() or landlock.version() > 0


def _seccomp() -> Mechanism:
    if seccomp.is_available():
        return Mechanism(
            "seccomp",
            True,
            "a strategy makes no process, thread or socket, and signals and traces nobody",
        )
    why = "this kernel or processor" if libc.IS_LINUX else _system()
    return Mechanism(
        "seccomp",
        False,
        f"{why} offers no seccomp that we know: a strategy can start processes and open sockets",
    )


def _landlock() -> Mechanism:
    version = landlock.version()
    if version:
        network = version >= landlock.NETWORK_VERSION
        return Mechanism(
            "Landlock",
            True,
            f"version {version}: a strategy reads Python's own files and writes none"
            + ("; TCP is closed a second time" if network else ""),
        )
    if seccomp.is_available():
        return Mechanism(
            "Landlock",
            False,
            f"{_system()} offers no Landlock (Linux 5.13 or newer, switched on): seccomp closes "
            "all files instead, so a module that isn't loaded yet can't be imported",
        )
    return Mechanism(
        "Landlock",
        False,
        f"{_system()} offers no Landlock (Linux 5.13 or newer, switched on): a strategy can read "
        "and change whatever this user may",
    )


def _limits() -> Mechanism:
    if libc.IS_LINUX:
        return Mechanism("limits", True, "memory, time and open files of a strategy are bounded")
    return Mechanism(
        "limits",
        False,
        f"{_system()} does not bound a process's memory: a strategy can use all there is",
    )


def _system() -> str:
    return {"darwin": "macOS", "linux": "this kernel"}.get(sys.platform, sys.platform)
