"""The queue of resources to look at: each at most once at a time, and again when it changed since.

Like client-go's work queue: a key that is added while it is worked on comes again afterwards, a key
that failed comes again later and later, and `later` asks for a look at a given time, so that no
resource needs a timer of its own. In memory: what is lost with the process is found by listing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from dataclasses import dataclass

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One resource."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class WorkQueue:
    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._count = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many are to be looked at now."""
        return len(self._waiting) + len(self._again)

    @property
    def is_idle(self) -> bool:
        """Nothing to do now and nothing being done."""
        return not (self._waiting or self._working)

    def add(self, key: Key) -> None:
        """Look at `key` soon."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._changed.set()

    def later(self, key: Key, seconds: float) -> None:
        """Look at `key` in so many seconds, or sooner if that was asked for already."""
        due = asyncio.get_running_loop().time() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._count), key))
        self._changed.set()

    async def take(self) -> Key:
        """The next key; `done` or `failed` must follow."""
        while True:
            self._release()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.remove(key)
                self._working.add(key)
                return key
            self._changed.clear()
            until = self._later[0][0] if self._later else None
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                continue  # something is due

    def done(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: Key) -> float:
        """Come again after a while, which is returned in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), LONGEST_RETRY_SECONDS)
        self._finish(key)
        self.later(key, delay)
        return delay

    def _finish(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _release(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:  # not replaced by an earlier one
                del self._due[key]
                self.add(key)
