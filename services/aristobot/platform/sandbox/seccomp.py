"""seccomp: the only system calls that a process may still make (`syscalls`).

One of the two walls around a strategy (the other is `landlock`), open to every user. All else is
answered with EPERM, which Python raises as `PermissionError`, so that the strategy's author reads
which line asked for too much. A call of another architecture ends the process. The filter is a
program for the kernel's classic BPF machine (linux/filter.h, linux/seccomp.h).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
from dataclasses import dataclass

from aristobot.platform.sandbox import libc, syscalls

_PR_GET_SECCOMP = 21
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

_RET_ALLOW = 0x7FFF0000
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000

# Where `struct seccomp_data` has what; of an argument the lower half (both are little-endian).
_NR = 0
_ARCH = 4


def _argument(index: int) -> int:
    return 16 + 8 * index


_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_JUMP_ABOVE = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_O_TMPFILE = 0o20000000
_O_PATH = 0o10000000
#: What opens for more than reading. O_PATH is one: what it gives is no file to be read.
_MORE_THAN_READING = (
    os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _O_TMPFILE | _O_PATH
)
_F_GETFD, _F_SETFD, _F_GETFL = 1, 2, 3


@dataclass(frozen=True, slots=True)
class _Architecture:
    audit: int  # linux/audit.h
    column: int  # in `syscalls`


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, 0),
    "aarch64": _Architecture(0xC00000B7, 1),
}


def is_available() -> bool:
    """Whether this kernel filters, and this machine's calls are known."""
    if not libc.IS_LINUX or _architecture() is None:
        return False
    try:
        libc.prctl(_PR_GET_SECCOMP)
        libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, 0)  # no program: refused, but how tells
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


def _architecture() -> _Architecture | None:
    # A 32-bit Python on a 64-bit kernel makes other calls.
    return _ARCHITECTURES.get(platform.machine()) if struct.calcsize("P") == 8 else None


def restrict(*, may_open: bool) -> None:
    """From now on this process makes the allowed calls only, for good.

    `may_open`: files may be opened for reading; say no where Landlock doesn't choose which. Needs
    no-new-privileges and a single thread. Raises `OSError`.
    """
    architecture = _architecture()
    if architecture is None:
        raise OSError(errno.ENOSYS, f"the system calls of {platform.machine()} are not known")
    program = _program(architecture, may_open=may_open)
    count = len(program) // 8
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, and a pointer at the pointer's own alignment.
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", count, ctypes.addressof(instructions))
    )
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)))


def _program(architecture: _Architecture, *, may_open: bool) -> bytes:
    allow = _op(_RETURN, _RET_ALLOW)
    refuse = _op(_RETURN, _RET_ERRNO | errno.EPERM)
    parts = [
        _op(_LOAD, _ARCH),
        _op(_JUMP_EQUAL, architecture.audit, yes=1),
        _op(_RETURN, _RET_KILL_PROCESS),
        _op(_LOAD, _NR),
    ]
    column = architecture.column
    # x86_64's x32 calls carry a bit in their number, so they equal none of these.
    for numbers in syscalls.HARMLESS.values():
        parts += _when(numbers[column], [allow])
    if may_open:
        for numbers, flags in ((syscalls.OPEN, 1), (syscalls.OPENAT, 2)):
            parts += _when(
                numbers[column],
                [
                    _op(_LOAD, _argument(flags)),
                    _op(_JUMP_ANY_BIT, _MORE_THAN_READING, yes=1),
                    allow,
                    refuse,
                ],
            )
    # No memory that can be written and then run: code comes from files, and they are read-only.
    parts += _when(
        syscalls.MMAP[column],
        [
            _op(_LOAD, _argument(2)),
            _op(_JUMP_ANY_BIT, mmap.PROT_EXEC, no=1),
            _op(_JUMP_ANY_BIT, mmap.PROT_WRITE, yes=1),
            allow,
            refuse,
        ],
    )
    parts += _when(
        syscalls.MPROTECT[column],
        [
            _op(_LOAD, _argument(2)),
            _op(_JUMP_ANY_BIT, mmap.PROT_EXEC, yes=1),
            allow,
            refuse,
        ],
    )
    parts += _when(
        syscalls.FCNTL[column],
        [
            _op(_LOAD, _argument(1)),
            _op(_JUMP_ABOVE, _F_GETFL, yes=2),
            _op(_JUMP_EQUAL, 0, yes=1),  # F_DUPFD
            allow,
            refuse,
        ],
    )
    return b"".join([*parts, refuse])


def _when(number: int | None, then: list[bytes]) -> list[bytes]:
    """`then`, which must end in a return, for the call of that number."""
    if number is None:
        return []
    return [_op(_JUMP_EQUAL, number, no=len(then)), *then]


def _op(code: int, k: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction: `yes` and `no` are how many to skip."""
    return struct.pack("HBBI", code, yes, no, k)
