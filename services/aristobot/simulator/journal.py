"""The simulator's memory on disk: a snapshot and an append-only journal of entries since.

One entry is one line of JSON (a list of events), handed to the kernel before anybody is answered:
a killed process (`kill -9`) loses no accepted order. It is not fsynced per entry, so a power cut
may take the last moments; a simulated exchange does not promise more. A torn last line is an entry
nobody was told about and is cut off. Files carry a generation: `snapshot-N` is the state before
`journal-N`, so a crash anywhere in the compaction leaves one consistent pair.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from aristobot.core.errors import Misconfigured

Entry = list[list[Any]]
_SNAPSHOT = re.compile(r"^snapshot-(\d+)\.jsonl$")
_JOURNAL = re.compile(r"^journal-(\d+)\.jsonl$")
_END = b'["end-of-snapshot"]'


class Journal(Protocol):
    """Where entries go before they take effect."""

    def append(self, entry: Entry) -> None:
        """Keep one entry; OSError when it could not be kept (then nothing of it is)."""

    def close(self) -> None: ...


class MemoryJournal:
    """Keeps nothing: for a simulator without a data folder."""

    def append(self, entry: Entry) -> None:
        return None

    def close(self) -> None:
        return None


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class FileJournal:
    """The journal of one data folder, which it locks against a second simulator.

    Use: `open`, apply everything `replay` yields, then `start` with the state's snapshot.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock_fd = self._lock()
        self._fd: int | None = None
        self._size = 0
        self._generation = 0

    def _lock(self) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured(
                f"The simulator cannot write to {self._folder}: {error.strerror}."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise Misconfigured(f"Another simulator is using {self._folder}.") from error
        return fd

    def _generations(self, pattern: re.Pattern[str]) -> list[int]:
        names = (pattern.match(path.name) for path in self._folder.iterdir())
        return sorted(int(match[1]) for match in names if match)

    def replay(self) -> Iterator[list[Any]]:
        """Every kept event, oldest first. `Misconfigured` names a damaged file."""
        snapshots = self._generations(_SNAPSHOT)
        self._generation = snapshots[-1] if snapshots else 0
        if snapshots:
            path = self._folder / f"snapshot-{self._generation}.jsonl"
            yield from self._events(path, is_snapshot=True)
        path = self._folder / f"journal-{self._generation}.jsonl"
        if path.exists():
            yield from self._events(path, is_snapshot=False)

    def _events(self, path: Path, *, is_snapshot: bool) -> Iterator[list[Any]]:
        lines = path.read_bytes().split(b"\n")
        torn = lines.pop()
        if is_snapshot and (torn or not lines or lines.pop() != _END):
            raise Misconfigured(
                f"{path} is damaged: its end is missing. Move it away to start anew."
            )
        for number, line in enumerate(lines, start=1):
            try:
                entry: Entry = json.loads(line)
                events = [(event[0], event) for event in entry]
            except (ValueError, TypeError, LookupError) as error:
                raise Misconfigured(
                    f"{path} is damaged at line {number}. Move it away to start anew."
                ) from error
            yield from (event for _, event in events)

    def start(self, snapshot: Iterable[list[Any]]) -> None:
        """Write the state as the next generation's snapshot, and begin its empty journal."""
        self._generation += 1
        final = self._folder / f"snapshot-{self._generation}.jsonl"
        temporary = final.with_suffix(".tmp")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                for event in snapshot:
                    file.write(_dump([event]) + b"\n")
                file.write(_END + b"\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(final)
            self._fd = os.open(
                self._folder / f"journal-{self._generation}.jsonl",
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC,
                0o600,
            )
        except OSError as error:
            raise Misconfigured(
                f"The simulator cannot write to {self._folder}: {error.strerror}."
            ) from error
        self._remove_older()

    def _remove_older(self) -> None:
        for pattern, name in ((_SNAPSHOT, "snapshot"), (_JOURNAL, "journal")):
            for generation in self._generations(pattern):
                if generation < self._generation:
                    # An old file that stays is only space: the newest generation is what counts.
                    with contextlib.suppress(OSError):
                        (self._folder / f"{name}-{generation}.jsonl").unlink()

    def append(self, entry: Entry) -> None:
        """Hand one entry to the kernel; on failure the file is cut back, so no torn middle."""
        if self._fd is None:
            raise RuntimeError("The journal was not started.")
        line = _dump(entry) + b"\n"
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError("The journal's disk is full.")
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close the files and give the folder free; may be called twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
