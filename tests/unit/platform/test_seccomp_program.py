"""The seccomp program, run as the kernel would run it, for processors that are not here as well."""

from __future__ import annotations

import errno
import mmap
import os
import struct

import pytest

from aristobot.platform.sandbox import syscalls
from aristobot.platform.sandbox.seccomp import _ARCHITECTURES, _program

_ALLOWED, _KILLED = 0x7FFF0000, 0x80000000
_REFUSED = 0x00050000 | errno.EPERM
_OTHER = {"x86_64": 0x40000003, "aarch64": 0x40000028}  # i386's calls, and 32-bit ARM's

machines = pytest.mark.parametrize("machine", list(_ARCHITECTURES))


def _run(program: bytes, nr: int, audit: int, arguments: tuple[int, ...] = ()) -> int:
    """A machine for what such programs use of classic BPF; raises on anything else."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", nr, audit, 0, *padded)
    place, register = 0, 0
    while True:
        code, yes, no, k = struct.unpack_from("HBBI", program, place * 8)
        place += 1
        if code == 0x20:
            register = struct.unpack_from("<I", data, k)[0]
        elif code == 0x06:
            return int(k)
        else:
            holds = {0x15: register == k, 0x25: register > k, 0x45: bool(register & k)}[code]
            place += yes if holds else no


def _verdict(machine: str, call: tuple[int | None, int | None], *arguments: int) -> int:
    architecture = _ARCHITECTURES[machine]
    number = call[architecture.column]
    assert number is not None
    return _run(_program(architecture, may_open=True), number, architecture.audit, arguments)


@machines
def test_only_the_calls_of_the_list_are_allowed(machine: str) -> None:
    architecture = _ARCHITECTURES[machine]
    program = _program(architecture, may_open=False)
    allowed = {numbers[architecture.column] for numbers in syscalls.HARMLESS.values()}
    with_arguments = {
        numbers[architecture.column] for numbers in (syscalls.MMAP, syscalls.MPROTECT)
    } | {syscalls.FCNTL[architecture.column]}
    for number in (*range(600), *range(1 << 30, (1 << 30) + 600), 0xFFFFFFFF):
        if number not in with_arguments:
            verdict = _run(program, number, architecture.audit)
            assert verdict == (_ALLOWED if number in allowed else _REFUSED), number


@machines
def test_a_call_of_another_processor_ends_the_process(machine: str) -> None:
    program = _program(_ARCHITECTURES[machine], may_open=True)
    for number in range(600):
        assert _run(program, number, _OTHER[machine]) == _KILLED


@machines
@pytest.mark.parametrize(
    ("flags", "verdict"),
    [
        (os.O_RDONLY | os.O_CLOEXEC, _ALLOWED),
        (os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK, _ALLOWED),
        (os.O_WRONLY, _REFUSED),
        (os.O_RDWR, _REFUSED),
        (3, _REFUSED),
        (os.O_RDONLY | os.O_CREAT, _REFUSED),
        (os.O_RDONLY | os.O_TRUNC, _REFUSED),
        (0o20200000, _REFUSED),  # O_TMPFILE
        (0o10000000, _REFUSED),  # O_PATH
    ],
)
def test_files_are_opened_for_reading_only(machine: str, flags: int, verdict: int) -> None:
    at_a_folder = -100 & 0xFFFFFFFFFFFFFFFF
    assert _verdict(machine, syscalls.OPENAT, at_a_folder, 1, flags) == verdict
    if machine == "x86_64":
        assert _verdict(machine, syscalls.OPEN, 1, flags) == verdict


@machines
def test_memory_is_written_or_run_and_not_both(machine: str) -> None:
    read, write, run = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
    for rights, verdict in (
        (read | write, _ALLOWED),
        (read | run, _ALLOWED),
        (write | run, _REFUSED),
        (read | write | run, _REFUSED),
    ):
        assert _verdict(machine, syscalls.MMAP, 0, 4096, rights) == verdict
    assert _verdict(machine, syscalls.MPROTECT, 0, 4096, read | write) == _ALLOWED
    assert _verdict(machine, syscalls.MPROTECT, 0, 4096, read | run) == _REFUSED


@machines
def test_descriptors_are_looked_at_and_not_copied(machine: str) -> None:
    verdicts = [_verdict(machine, syscalls.FCNTL, 3, command) for command in range(5)]
    assert verdicts == [_REFUSED, _ALLOWED, _ALLOWED, _ALLOWED, _REFUSED]
    assert _verdict(machine, syscalls.FCNTL, 3, 1030) == _REFUSED  # F_DUPFD_CLOEXEC
