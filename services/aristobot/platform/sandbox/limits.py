"""What Linux and other Unixes have long had: resource limits, capabilities, descriptors.

Part of `seal`. A limit can only be lowered, so what is set here stays.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass

from aristobot.platform.sandbox import libc

# linux/prctl.h, linux/securebits.h
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
#: NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each locked; keep-caps locked off.
_SECUREBITS = 0b11101111
_LAST_CAPABILITY = 63
#: The kernel's greatest: when memory runs out, strategies go first.
_OOM_SCORE = 1000
_NICE = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes`: address space beyond what is mapped when the process is sealed."""

    memory_bytes: int
    open_files: int = 32


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent ends, however that is; now, if it has ended already. Linux only."""
    if libc.IS_LINUX:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor that is not in `keep`."""
    lowest = 0
    for descriptor in [*sorted(keep), os.sysconf("SC_OPEN_MAX")]:
        if lowest < descriptor:  # an empty range would be taken for all of them
            os.closerange(lowest, descriptor)
        lowest = descriptor + 1


def yield_to_others() -> None:
    """Let other processes go first: on the processor, and in staying alive when memory is short."""
    os.nice(_NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))


def limit(limits: Limits) -> None:
    """Set the resource limits."""
    fixed = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_AS: _mapped_bytes() + limits.memory_bytes,
    }
    for name, value in fixed.items():
        _lower(name, value)


def _lower(name: int, value: int) -> None:
    _, hard = resource.getrlimit(name)
    lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # macOS knows RLIMIT_AS and won't have it lowered; `availability` says so.
    with contextlib.suppress(*(() if libc.IS_LINUX else (ValueError, OSError))):
        resource.setrlimit(name, (lowered, lowered))


def _mapped_bytes() -> int:
    if not libc.IS_LINUX:
        return 0
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def gain_nothing() -> None:
    """Give up every privilege, and the ways to get one back. Linux only."""
    if not libc.IS_LINUX:
        return
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with contextlib.suppress(OSError):  # before 4.3; then there are none
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    # Without CAP_SETPCAP both are refused, and there was nothing to be given up for good.
    with contextlib.suppress(OSError):
        for capability in range(_LAST_CAPABILITY + 1):
            libc.prctl(_PR_CAPBSET_READ, capability)
            libc.prctl(_PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):
        libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS)
    libc.set_no_capabilities()
