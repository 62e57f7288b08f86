"""Keeps the embedded platform's processes running: starts, restarts, replaces and stops them.

One task per part: start it, wait until it is ready, wait until it ends, start it again after a
pause that grows while it keeps failing. Parts come and go while the platform runs (a gateway per
Broker resource). Stopping goes stage by stage, the highest first, in parallel within a stage.
Deliberately not here: which parts there are (`local.up`) and what a process is (`local.process`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from aristobot.core.errors import AristobotError, Misconfigured
from aristobot.local.process import (
    ProcessSpec,
    describe_exit,
    end_family,
    last_log_line,
    spawn,
    terminate,
)
from aristobot.local.rundir import RunDir, descendants, kill_all
from aristobot.platform.waiting import end_if_cancelled, wait_set

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
#: A part that was ready for this long counts as sound: its next failure is its first again.
HEALTHY_SECONDS = 10.0
#: After this `Supervisor.stop` waits for nobody any more; with the killing it ends within 5 s.
STOP_SECONDS = 4.0
#: Kept back for each lower stage, so that a hanging one doesn't cost it its orderly end.
_STAGE_RESERVE_SECONDS = 0.7
_READY_POLL_SECONDS = 0.02
_READY_PROBE_SECONDS = 2.0
#: A part that ends this often before it was ever ready won't become so by waiting.
_FIRST_START_ATTEMPTS = 5


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class PartState:
    """A part as of now. `since`: when it entered `phase`; `last_exit`: why it last ended."""

    name: str
    phase: Phase
    pid: int | None
    since: datetime
    restarts: int
    last_exit: str | None

    @property
    def ready(self) -> bool:
        return self.phase is Phase.READY


class Supervisor:
    """Owns every child process and the task that watches it; `stop` awaits them all.

    `on_change` is called, in the event loop, whenever a part's state has changed.
    """

    def __init__(
        self, run_dir: RunDir, *, on_change: Callable[[PartState], None] | None = None
    ) -> None:
        self._run_dir = run_dir
        self._on_change = on_change
        self._parts: dict[str, _Part] = {}
        self._stopping = False
        # Changes of the same part come one after the other, whoever asks for them.
        self._changes: dict[str, asyncio.Lock] = {}

    def states(self) -> list[PartState]:
        """Every part, in the order in which they were added."""
        return [part.state for part in self._parts.values()]

    def state(self, name: str) -> PartState | None:
        part = self._parts.get(name)
        return part.state if part else None

    async def start(self, *specs: ProcessSpec) -> None:
        """Start the parts in parallel and wait until all are ready.

        Raises `Misconfigured`, naming the part, its log and that log's last line, when one does
        not get ready; the parts keep running, so the caller calls `stop`.
        """
        await asyncio.gather(*(self.put(spec) for spec in specs))
        waits = [asyncio.create_task(self._parts[spec.name].first_ready()) for spec in specs]
        try:
            # At the first failure: those that wait for a server that won't come fail much later.
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
            for wait in done:
                wait.result()
        finally:
            await _cancel(*waits)

    async def put(self, spec: ProcessSpec) -> None:
        """Add the part, or replace the one of this name if its spec differs; doesn't wait.

        After `stop` has begun it does nothing.
        """
        async with self._change(spec.name):
            present = self._parts.get(spec.name)
            if self._stopping or (present is not None and present.spec == spec):
                return
            if present is not None:
                await present.stop(spec.stop_timeout_seconds)
            if not self._stopping:
                self._parts[spec.name] = _Part(spec, self._run_dir, self._on_change)

    async def remove(self, name: str) -> None:
        """Stop the part and forget it; one that doesn't exist is fine."""
        async with self._change(name):
            part = self._parts.get(name)
            if part is not None:
                await part.stop(part.spec.stop_timeout_seconds)
                self._parts.pop(name, None)

    async def restart(self, name: str) -> None:
        """Stop the part and start it anew at once; one that doesn't exist is fine."""
        async with self._change(name):
            part = self._parts.get(name)
            if part is not None and not self._stopping:
                await part.stop(part.spec.stop_timeout_seconds)
                self._parts[name] = _Part(part.spec, self._run_dir, self._on_change)

    async def stop(self, patience_seconds: float = STOP_SECONDS) -> None:
        """Stop everything, the highest stage first, within 5 s; nothing is left.

        After `patience_seconds` nobody is waited for any more, only killed.
        """
        self._stopping = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        stages = sorted({part.spec.stage for part in self._parts.values()}, reverse=True)
        for position, stage in enumerate(stages):
            reserve = _STAGE_RESERVE_SECONDS * (len(stages) - position - 1)
            left = deadline - loop.time() - reserve
            await asyncio.gather(
                *(
                    part.stop(min(part.spec.stop_timeout_seconds, left))
                    for part in self._parts.values()
                    if part.spec.stage == stage
                )
            )

    def _change(self, name: str) -> asyncio.Lock:
        return self._changes.setdefault(name, asyncio.Lock())


class _Part:
    """One part and its task, which ends only by `stop`."""

    def __init__(
        self, spec: ProcessSpec, run_dir: RunDir, on_change: Callable[[PartState], None] | None
    ) -> None:
        self.spec = spec
        self._run_dir = run_dir
        self._on_change = on_change
        self._stop_requested = asyncio.Event()
        self._stop_timeout_seconds = spec.stop_timeout_seconds
        self._was_ready = asyncio.Event()
        self._failures_before_ready = 0
        self._gave_up = asyncio.Event()
        #: Loop time at which the running process became ready.
        self._ready_at: float | None = None
        self.state = PartState(spec.name, Phase.STARTING, None, datetime.now(UTC), 0, None)
        self._task = asyncio.create_task(self._run(), name=f"supervise {spec.name}")

    async def first_ready(self) -> None:
        """Wait until the part has been ready once; raises `Misconfigured` when it won't be."""
        ready = asyncio.create_task(self._was_ready.wait())
        failed = asyncio.create_task(self._gave_up.wait())
        try:
            await asyncio.wait(
                {ready, failed, self._task},
                timeout=self.spec.ready_timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await _cancel(ready, failed)
        if self._was_ready.is_set() or self._stop_requested.is_set():
            return
        reason = self.state.last_exit or f"still not after {self.spec.ready_timeout_seconds:g} s"
        line = last_log_line(self.spec.log_path)
        raise Misconfigured(
            f"{self.spec.name} does not get ready ({reason}); its log is {self.spec.log_path}"
            + (f" and ends with: {line}" if line else "")
        )

    async def stop(self, timeout_seconds: float) -> None:
        """End the process, by force after `timeout_seconds`, and the task."""
        self._stop_timeout_seconds = timeout_seconds
        self._stop_requested.set()
        await self._task

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stop_requested.is_set():
            self._change(Phase.STARTING)
            self._ready_at = None
            try:
                reason = await self._live()
            except (OSError, AristobotError) as error:
                reason = f"it can't be started: {error}"
            except Exception as error:
                # The boundary of a part: whatever failed, the others go on and this one is
                # tried again.
                logger.exception("part failed to start", extra={"part": self.spec.name})
                reason = f"it can't be started: {error}"
            if self._stop_requested.is_set():
                break
            logger.warning("part ended", extra={"part": self.spec.name, "reason": reason})
            if not self._was_ready.is_set():
                self._failures_before_ready += 1
                if self._failures_before_ready >= _FIRST_START_ATTEMPTS:
                    self._gave_up.set()
            if self._ready_at is not None and loop.time() - self._ready_at >= HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._change(Phase.WAITING, last_exit=reason)
            await wait_set(self._stop_requested, pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._change(self.state.phase, restarts=self.state.restarts + 1)
        self._change(Phase.STOPPED)

    async def _live(self) -> str:
        """One life of the process; returns why it ended. When this returns nothing of it runs."""
        if self.spec.prepare is not None:
            await self.spec.prepare()
        if self._stop_requested.is_set():
            return "stopped"
        process = await spawn(self.spec)
        self._run_dir.write(self.spec.name, process.pid, stop_signal=self.spec.stop_signal)
        self._change(Phase.STARTING, pid=process.pid)
        ended = asyncio.create_task(process.wait(), name=f"{self.spec.name} ends")
        stopped = asyncio.create_task(self._stop_requested.wait(), name=f"{self.spec.name} stops")
        ready = asyncio.create_task(self._become_ready(), name=f"{self.spec.name} gets ready")
        try:
            done, _ = await asyncio.wait(
                {ended, stopped, ready}, return_when=asyncio.FIRST_COMPLETED
            )
            if ready in done and not ended.done() and not stopped.done():
                if not ready.result():
                    await terminate(process, self.spec, self.spec.stop_timeout_seconds)
                    return f"not ready within {self.spec.ready_timeout_seconds:g} s"
                self._ready_at = asyncio.get_running_loop().time()
                self._was_ready.set()
                self._change(Phase.READY, pid=process.pid)
                await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await terminate(process, self.spec, self._stop_timeout_seconds)
            await end_family(process.pid, set())
            return describe_exit(await process.wait())
        finally:
            await _cancel(ended, stopped, ready)
            _kill_now(process)
            self._run_dir.remove(self.spec.name)

    async def _become_ready(self) -> bool:
        """Ask the probe until it says yes; False when the time is over."""
        if self.spec.ready is None:
            return True
        try:
            async with asyncio.timeout(self.spec.ready_timeout_seconds):
                while True:
                    # A probe finds nobody listening yet, or hangs on a half-started server.
                    with contextlib.suppress(OSError, TimeoutError):
                        async with asyncio.timeout(_READY_PROBE_SECONDS):
                            if await self.spec.ready():
                                return True
                    # A probe that ended just then may have swallowed the end of this process.
                    end_if_cancelled()
                    await asyncio.sleep(_READY_POLL_SECONDS)
        except TimeoutError:
            return False

    def _change(
        self,
        phase: Phase,
        *,
        pid: int | None = None,
        last_exit: str | None = None,
        restarts: int | None = None,
    ) -> None:
        before = self.state
        self.state = PartState(
            name=self.spec.name,
            phase=phase,
            pid=pid,
            since=before.since if before.phase is phase else datetime.now(UTC),
            restarts=before.restarts if restarts is None else restarts,
            last_exit=last_exit or before.last_exit,
        )
        if self._on_change is not None and self.state != before:
            self._on_change(self.state)


def _kill_now(process: Process) -> None:
    """The last resort when this task itself was cancelled: no await is possible any more."""
    if process.returncode is None:
        kill_all(descendants(process.pid))


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
