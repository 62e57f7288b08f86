"""As which user PostgreSQL runs: it refuses to run as root, and users do start us as root.

An ordinary user runs it as itself. Root has two ways. A *user namespace* that maps an ordinary
uid to root: PostgreSQL sees that it isn't root, and the files stay root's. Where namespaces are
refused (most containers), or the files belong to somebody else, it *drops* to the folder's owner
or to `nobody`, keeping (Linux) the one capability of passing closed folders such as /root. What
works is found out by trying it. Nothing here is needed for the other parts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aristobot.core.errors import Misconfigured

_PROBE_SECONDS = 10.0
# From linux/sched.h, linux/prctl.h and linux/capability.h.
_CLONE_NEWUSER = 0x10000000
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
# Loaded here: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
if _LIBC is not None:
    _LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


@dataclass(frozen=True, slots=True)
class RunAs:
    """How a PostgreSQL program is started: `become` runs in the child just before it.

    `owner`: uid that must own the data folder, as seen from here; None when it is our own.
    """

    description: str
    become: Callable[[], None] | None = None
    owner: int | None = None


def choose(folder: Path, binary: Path) -> RunAs:
    """The way that works here for the data folder `folder` (which need not exist yet).

    Raises `Misconfigured` when PostgreSQL can't be run as root here.
    """
    if os.geteuid() != 0:
        return RunAs("this user")
    owner = folder.stat().st_uid if folder.is_dir() else 0
    reachable = folder if folder.is_dir() else folder.parent
    for candidate in candidates(owner):
        if _works(candidate, binary, reachable):
            return candidate
    raise Misconfigured(
        f"PostgreSQL does not run as root, and no ordinary user can use both {reachable} and "
        f"{binary}: start aristobot as an ordinary user, or install it and keep its data (--data) "
        "where the user `nobody` may go"
    )


def candidates(owner: int) -> Iterator[RunAs]:
    """Root's ways to run PostgreSQL on a folder of the user `owner`, the best first."""
    if owner != 0:
        yield _dropped_to(owner)
        return
    if sys.platform == "linux":
        yield _in_user_namespace()
    yield _dropped_to(pwd.getpwnam("nobody").pw_uid)


def give_to(folder: Path, owner: int) -> None:
    """Make `owner` the owner of the folder and all that is in it."""
    os.chown(folder, owner, -1)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), owner, -1, follow_symlinks=False)


def _works(candidate: RunAs, binary: Path, reachable: Path) -> bool:
    def become() -> None:
        if candidate.become is not None:
            candidate.become()
        # A folder that will be given to the user needs only to be reached.
        needed = os.X_OK if candidate.owner is not None else os.R_OK | os.W_OK | os.X_OK
        if not os.access(reachable, needed, effective_ids=True):
            raise PermissionError(reachable)

    with contextlib.suppress(OSError, subprocess.SubprocessError):  # each means: not this way
        done = subprocess.run(
            (binary, "--version"),
            preexec_fn=become,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
        return done.returncode == 0
    return False


def _in_user_namespace() -> RunAs:
    # initdb looks its user up by name, so the uid must be one that this machine knows.
    uid = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534)), 65534)

    def become() -> None:
        gid = os.getegid()  # afterwards it reads as nobody's until it is mapped
        _call("unshare", _CLONE_NEWUSER)
        # Without it the kernel lets nobody but real root map a group.
        _write("/proc/self/setgroups", b"deny")
        _write("/proc/self/uid_map", b"%d 0 1" % uid)
        _write("/proc/self/gid_map", b"%d %d 1" % (uid, gid))

    return RunAs(f"root as uid {uid} of a user namespace", become)


def _dropped_to(uid: int) -> RunAs:
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid

    def become() -> None:
        if _LIBC is not None:
            _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if _LIBC is not None:
            # Where even that isn't granted, the folders' own permissions decide.
            with contextlib.suppress(OSError):
                _keep_file_access()

    return RunAs(f"uid {uid}", become, owner=uid)


def _keep_file_access() -> None:
    """Keep only the capabilities to pass permissions of files, also through exec."""
    kept = 1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH
    # effective, permitted, inheritable; then the same for capabilities from 32 on: none.
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    current = (ctypes.c_uint32 * 6)()
    _call("capget", header, current)
    kept &= current[1]
    _call("capset", header, (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0))
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        if kept & 1 << capability:
            _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _call(name: str, *arguments: object) -> None:
    if _LIBC is None:
        raise OSError(f"{name} is Linux's")
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
