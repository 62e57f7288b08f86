"""The few calls of Linux that Python has no function for. Raises `OSError` as Python would."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

IS_LINUX = sys.platform == "linux"
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

#: Looked up once, before a process is sealed.
_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int | ctypes.c_void_p) -> int:
    """prctl(2). The arguments that aren't given are 0, which several options insist on."""
    values = [*arguments, *[0] * (4 - len(arguments))]
    return _checked(
        _libc.prctl(
            option,
            *(ctypes.c_ulong(value) if isinstance(value, int) else value for value in values),
        )
    )


def syscall(number: int, *arguments: int | ctypes.c_void_p) -> int:
    """syscall(2)."""
    return _checked(
        _libc.syscall(
            ctypes.c_long(number),
            *(ctypes.c_long(value) if isinstance(value, int) else value for value in arguments),
        )
    )


def set_no_capabilities() -> None:
    """capset(2) with nothing in any set: what root alone may do, this process no longer may."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)
    _checked(_libc.capset(header, nothing))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
