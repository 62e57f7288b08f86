"""The run folder `DATA/run`: who runs this platform, and which processes it has started.

Two things are kept here. The platform's lock: one `aristobot up` per data folder. And one small
file per running part, so that the next `up` can stop what a killed one left behind where the
system doesn't do that itself (Linux's parent-death signal usually has). A process is recognised
by its pid *and* its creation time, so a number that belongs to someone else by now is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from aristobot.core.errors import Misconfigured

#: psutil derives creation times from the clock, which may have been adjusted since.
_CREATE_TIME_TOLERANCE_SECONDS = 5.0
_STOP_SECONDS = 2.0
_KILL_SECONDS = 1.0
_LOCK_ATTEMPTS = 5
_LOCK_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RunDir:
    """`data`: the platform's data folder. Make one with `RunDir.create`."""

    data: Path

    @property
    def path(self) -> Path:
        return self.data / "run"

    @property
    def _lock_file(self) -> Path:
        return self.path / "platform.lock"

    @classmethod
    def create(cls, data: Path) -> RunDir:
        """Make the data folder and its run folder (mode 0700) where they are missing.

        Raises `Misconfigured` when the data folder can't be made or written to.
        """
        run_dir = cls(data.absolute())
        try:
            run_dir.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            run_dir.path.mkdir(mode=0o700, exist_ok=True)
            # Asked by doing: permission bits say nothing to root or on a read-only file system.
            with tempfile.TemporaryFile(dir=run_dir.path):
                return run_dir
        except OSError as error:
            raise Misconfigured(
                f"the data folder {run_dir.data} can't be written to "
                f"({error.strerror or error}): choose another one with --data"
            ) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the data folder for this process.

        Raises `Misconfigured`, naming the other's pid, when another process holds it. The kernel
        frees the lock when its holder dies, however it dies.
        """
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _take(descriptor):
                holder = _read_pid(descriptor)
                who = f"process {holder}" if holder else "another process"
                raise Misconfigured(
                    f"aristobot is running on {self.data} already ({who}): stop it with "
                    f"`aristobot down --data {self.data}`, or choose another folder with --data"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            yield
            # Emptied before it is freed: whoever reads it then finds no pid that isn't ours.
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def running_pid(self) -> int | None:
        """The pid of the platform that holds this data folder; None when none runs."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(descriptor)
        finally:
            os.close(descriptor)
        return None

    def write(self, part: str, pid: int, *, stop_signal: signal.Signals) -> None:
        """Record that `part` runs as `pid`; nothing when that process has ended already."""
        with contextlib.suppress(psutil.NoSuchProcess):
            record = {
                "pid": pid,
                "create_time": psutil.Process(pid).create_time(),
                "stop_signal": int(stop_signal),
            }
            new = self._part_file(part).with_suffix(".new")
            new.write_text(json.dumps(record))
            new.replace(self._part_file(part))

    def remove(self, part: str) -> None:
        """Forget `part`: it has ended."""
        self._part_file(part).unlink(missing_ok=True)

    def stop_leftovers(self) -> list[str]:
        """Stop what an earlier platform on this folder left running; return the parts' names.

        Call it with the lock held. Blocks for at most about 3 s; each leftover gets its stop
        signal, then SIGKILL, together with everything it started.
        """
        stopped: list[str] = []
        processes: set[psutil.Process] = set()
        for file in sorted(self.path.glob("*.json")):
            record = _read_record(file)
            if record is not None and (found := _family(record)):
                stopped.append(file.stem)
                processes |= found
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(record["pid"], record["stop_signal"])
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        kill_all(alive)
        psutil.wait_procs(alive, timeout=_KILL_SECONDS)
        for file in self.path.glob("*.json"):
            file.unlink(missing_ok=True)
        return stopped

    def _part_file(self, part: str) -> Path:
        return self.path / f"{part}.json"


def descendants(pid: int) -> set[psutil.Process]:
    """The process `pid`, all that it started, and all members of its session."""
    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        found = {leader, *leader.children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == pid:
                found.add(process)
    return found


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL those that still run (psutil makes sure that a pid wasn't given to another)."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs. A zombie doesn't: it only waits for its parent to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _take(descriptor: int) -> bool:
    """Lock the file. Tried a few times: `running_pid` holds it for a moment to look."""
    for _ in range(_LOCK_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_PAUSE_SECONDS)
    return False


def _family(record: dict[str, Any]) -> set[psutil.Process]:
    """What still runs of a recorded part: the process, its descendants and its session."""
    if record["create_time"] < psutil.boot_time() - _CREATE_TIME_TOLERANCE_SECONDS:
        return set()  # the machine was restarted since, and counts its processes anew
    with contextlib.suppress(psutil.NoSuchProcess):
        created = psutil.Process(record["pid"]).create_time()
        if abs(created - record["create_time"]) > _CREATE_TIME_TOLERANCE_SECONDS:
            return set()
    return {process for process in descendants(record["pid"]) if is_alive(process)}


def _read_record(file: Path) -> dict[str, Any] | None:
    """The file's record; None when it was cut off by a crash, so it names no process."""
    try:
        raw = json.loads(file.read_text())
        return {
            "pid": int(raw["pid"]),
            "create_time": float(raw["create_time"]),
            "stop_signal": signal.Signals(raw["stop_signal"]),
        }
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
