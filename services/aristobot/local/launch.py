"""The last step before a child's program: change the user, die with the parent, then become it.

Run as a program of its own (`command` builds the call), never imported into the child's parent's
fork: a `preexec_fn` would run in a copy of a process with threads, where any library's fork hooks
run first, and there `unshare` was refused now and then. Here there is one thread and nothing of
ours. It costs about 15 ms a start and imports the standard library alone. Deliberately not here:
which user is right (`local.postgres_user`), and sealing strategies.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import pwd
import signal
import sys

# From linux/sched.h, linux/prctl.h and linux/capability.h.
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
#: The exit code when the program was never reached; the reason is on standard error.
FAILED = 126


def command(
    argv: tuple[str, ...],
    *,
    user: tuple[str, ...] = (),
    death_signal: signal.Signals | None = None,
    reach: str | None = None,
    writable: str | None = None,
) -> tuple[str, ...]:
    """The command line that runs `argv` through this program.

    `user`: what `in_namespace` or `dropped` returned. `death_signal`: what Linux sends the child
    when the calling thread ends; the call must come from this very process. `reach`, `writable`:
    a folder that the user must be able to enter, or to enter and write to; else the start fails.
    """
    options = list(user)
    if death_signal is not None:
        options += ["--die-with", str(os.getpid()), "--death-signal", str(int(death_signal))]
    if reach is not None:
        options += ["--reach", reach]
    if writable is not None:
        options += ["--writable", writable]
    return (sys.executable, "-I", "-S", __file__, *options, "--", *argv)


def in_namespace(uid: int) -> tuple[str, ...]:
    """Root seen as `uid` inside a user namespace; outside its files stay root's. Linux only."""
    return ("--namespace-uid", str(uid))


def dropped(uid: int) -> tuple[str, ...]:
    """The user `uid` itself, on Linux still able to pass folders that are closed to it."""
    return ("--drop-to", str(uid))


def main() -> None:
    parser = argparse.ArgumentParser(prog="launch")
    parser.add_argument("--namespace-uid", type=int)
    parser.add_argument("--drop-to", type=int)
    parser.add_argument("--die-with", type=int, metavar="PID")
    parser.add_argument("--death-signal", type=int, default=int(signal.SIGKILL))
    parser.add_argument("--reach")
    parser.add_argument("--writable")
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    try:
        # First the user: a change of credentials clears the parent-death signal.
        if options.namespace_uid is not None:
            _enter_namespace(options.namespace_uid)
        if options.drop_to is not None:
            _drop_to(options.drop_to)
        if options.die_with is not None and sys.platform == "linux":
            _call("prctl", _PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
            if os.getppid() != options.die_with:  # it died before the signal was asked for
                sys.exit(FAILED)
        _check(options.reach, os.X_OK)
        _check(options.writable, os.R_OK | os.W_OK | os.X_OK)
        os.execv(options.argv[0], options.argv)
    except OSError as error:
        print(f"{options.argv[0]} can't be started: {error}", file=sys.stderr)
        sys.exit(FAILED)


def _check(folder: str | None, needed: int) -> None:
    if folder is not None and not os.access(folder, needed, effective_ids=True):
        raise PermissionError(f"{folder} can't be used by uid {os.geteuid()}")


def _enter_namespace(uid: int) -> None:
    gid = os.getegid()  # afterwards it reads as nobody's until it is mapped
    _call("unshare", _CLONE_NEWUSER)
    # Without it the kernel lets nobody but real root map a group.
    _write("/proc/self/setgroups", b"deny")
    _write("/proc/self/uid_map", b"%d 0 1" % uid)
    _write("/proc/self/gid_map", b"%d %d 1" % (uid, gid))


def _drop_to(uid: int) -> None:
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    if sys.platform == "linux":
        _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if sys.platform == "linux":
        # Where even that isn't granted, the folders' own permissions decide.
        with contextlib.suppress(OSError):
            _keep_file_access()


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


def _call(name: str, *arguments: int | ctypes.Array[ctypes.c_uint32]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    converted = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    if getattr(libc, name)(*converted) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
