"""Landlock: which files a process may still read; it may write none, and reach no TCP port.

One of the two walls around a strategy (the other is `seccomp`), open to every user of a kernel from
5.13 on. Numbers and structures are those of linux/landlock.h. What an older kernel doesn't know is
left out and not an error: `version` says what there is. Deliberately not here: metadata. Landlock
lets a process ask whether a path exists, how large it is and whose.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable

from aristobot.platform.sandbox import libc

# The same on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446

_QUERY_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
#: All rights on files by the version that brought them: 13 in the first, then REFER, TRUNCATE and
#: IOCTL_DEV.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_BIND_TCP = 1 << 0
_CONNECT_TCP = 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
_SCOPE_SIGNAL = 1 << 1

#: The first versions with TCP ports, and with scopes.
NETWORK_VERSION = 4
SCOPE_VERSION = 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The kernel's version of Landlock; 0 where there is none, or it is switched off."""
    if not libc.IS_LINUX:
        return 0
    try:
        return libc.syscall(_CREATE_RULESET, 0, 0, _QUERY_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str]) -> None:
    """From now on this process may read files beneath `readable` and nothing else, for good.

    Paths that don't exist are left out. Needs no-new-privileges. Raises `OSError`.
    """
    abi = version()
    handled = sum(right for since, right in _FILE_RIGHTS.items() if since <= abi)
    ruleset = _Ruleset(
        handled_access_fs=handled,
        handled_access_net=_BIND_TCP | _CONNECT_TCP if abi >= NETWORK_VERSION else 0,
        scoped=_SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if abi >= SCOPE_VERSION else 0,
    )
    # An older kernel refuses a longer structure unless the rest is zero, which it is.
    made = libc.syscall(
        _CREATE_RULESET, ctypes.c_void_p(ctypes.addressof(ruleset)), ctypes.sizeof(ruleset), 0
    )
    try:
        for path in readable:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _allow(made, path)
        libc.syscall(_RESTRICT_SELF, made, 0)
    finally:
        os.close(made)


def _allow(ruleset: int, path: str) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = os.path.isdir(path)
        rule = _PathBeneath(
            allowed_access=_READ_FILE | _READ_DIR if is_folder else _READ_FILE, parent_fd=opened
        )
        libc.syscall(
            _ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.c_void_p(ctypes.addressof(rule)), 0
        )
    finally:
        os.close(opened)
