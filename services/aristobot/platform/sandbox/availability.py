"""What this operating system offers to seal a strategy with, in plain sentences.

For `aristobot doctor` and `aristobot up`. It only asks; nothing is restricted by asking.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
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


def unsealed_is_allowed(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the user lets strategies run where nothing seals them."""
    return environment.get(ALLOW_UNSEALED) == "1"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sealed`: a strategy reaches no file of the user's, no network and no other process."""

    sealed: bool
    sentence: str


def verdict(environment: Mapping[str, str] = os.environ) -> Verdict:
    """How strategies are sealed here, and what is missing, in a sentence."""
    mechanisms = available()
    there = [each.name for each in mechanisms if each.available]
    lacking = [each.sentence for each in mechanisms if not each.available]
    # seccomp alone closes all files; Landlock alone leaves processes and UDP open.
    sealed = seccomp.is_available()
    parts = [f"strategies are sealed by {' and '.join(there)}"] if sealed else []
    parts += lacking
    if not has_wall():
        parts.append(
            f"they run all the same, because {ALLOW_UNSEALED}=1"
            if unsealed_is_allowed(environment)
            else f"so no strategy is run unless you set {ALLOW_UNSEALED}=1"
        )
    return Verdict(sealed, "; ".join(parts))


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
