"""One child process: what to run (`ProcessSpec`), starting it, and ending it for certain.

A child gets a session of its own, so a Ctrl-C in the terminal reaches the supervisor alone, which
then stops the children in order. On Linux the kernel signals it when the supervisor dies, however
that dies. Restarting is `local.supervisor`'s work.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from aristobot.local import launch
from aristobot.local.rundir import descendants, is_alive, kill_all

_LOG_LIMIT_BYTES = 20 * 1024 * 1024
_GONE_POLL_SECONDS = 0.01
_KILLED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how to treat it. Two equal specs mean the same process.

    `environment` is the complete environment. `stage`: lower stages are stopped later. `ready`
    is asked every few milliseconds until it says True; without it a running process is ready.
    `prepare` runs before every start. `parent_death_signal` is what Linux sends the process when
    the supervisor dies. `user` is how the child changes its user (`local.launch`). Times are in
    seconds.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets
    log_path: Path
    cwd: Path | None = None
    stage: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_seconds: float = 2.0
    ready: Callable[[], Awaitable[bool]] | None = field(default=None, compare=False)
    ready_timeout_seconds: float = 20.0
    prepare: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)
    parent_death_signal: signal.Signals = signal.SIGKILL
    user: tuple[str, ...] = field(default=(), compare=False)


async def spawn(spec: ProcessSpec) -> Process:
    """Start the process, its output appended to the log file. Raises `OSError`.

    Call it on the main thread, because Linux takes the end of the forking *thread* for the
    parent's.
    """
    # Said here, where it is an error, and not by the child, where it would be one more exit.
    if not os.access(spec.argv[0], os.X_OK):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), spec.argv[0])
    spec.log_path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if spec.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            spec.log_path.replace(spec.log_path.with_name(spec.log_path.name + ".1"))
    log = os.open(spec.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *launch.command(spec.argv, user=spec.user, death_signal=spec.parent_death_signal),
            env=dict(spec.environment),
            cwd=spec.cwd,
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,
        )
    finally:
        os.close(log)


async def terminate(process: Process, spec: ProcessSpec, timeout_seconds: float) -> None:
    """Ask the process to stop, and kill it with all that it started when it doesn't in time.

    Afterwards nothing of it runs, whatever it did with process groups.
    """
    family = descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(spec.stop_signal)
    with contextlib.suppress(TimeoutError):  # then it is killed below
        async with asyncio.timeout(max(timeout_seconds, 0.01)):
            await process.wait()
    # Also after an orderly end: a child of its own may have outlived it.
    await end_family(process.pid, family)
    await process.wait()


async def end_family(pid: int, known: set[psutil.Process]) -> None:
    """Kill whatever still runs of `known` and of the session `pid`."""
    rest = {each for each in known | descendants(pid) if is_alive(each)}
    kill_all(rest)
    await wait_gone(rest, _KILLED_SECONDS)


async def wait_gone(processes: set[psutil.Process], timeout_seconds: float) -> bool:
    """Wait until none of them runs, for at most `timeout_seconds`; whether that is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while any(is_alive(process) for process in processes):
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_GONE_POLL_SECONDS)
    return True


def describe_exit(return_code: int) -> str:
    """How a process ended, in words."""
    if return_code >= 0:
        return f"exit code {return_code}"
    with contextlib.suppress(ValueError):  # real-time signals have no name
        return f"killed by {signal.Signals(-return_code).name}"
    return f"killed by signal {-return_code}"


def last_log_line(path: Path) -> str | None:
    """The last line that is not empty of a part's log, cut to 300 characters."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return None
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), None)
