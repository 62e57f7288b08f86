"""Keeps one task running for every active strategy there is, and tells how they fare.

Follows the bucket of active strategies. A changed record restarts its task, a removed one ends it
and takes its consumer away. States are written to a bucket of their own, from where whoever
executes the resources puts them into the resources' status. A pod's runner does the same for the
one strategy that it is there for, of which alone it may know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from pydantic import ValidationError

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.messages import StrategyPhase, StrategyStatus
from aristobot.contracts.streams import (
    CANDLES,
    RUNNER_CONSUMERS,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    runner_consumer,
)
from aristobot.core.errors import Retryable
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.kv_mirror import KvMirror
from aristobot.platform.waiting import pause, wait_set
from aristobot.runner.sandbox import Sandbox
from aristobot.runner.strategy_task import StrategyTask

logger = logging.getLogger(__name__)

_STATUS_SECONDS = 0.5
_REPEAT_SECONDS = 10.0
_AFTER_FAILURE_SECONDS = 5.0


class Runner:
    """Runs until cancelled. `problems` says what keeps it from being ready.

    `only`: the one active strategy to run, as `<owner>.<name>`; None: all that there are.
    """

    def __init__(self, bus: Bus, *, only: str | None = None, allow_unsealed: bool = False) -> None:
        self._bus = bus
        self._only = only
        self._sandbox = Sandbox(allow_unsealed=allow_unsealed)
        self._records: dict[str, ActiveStrategyRecord] = {}
        self._running: dict[str, tuple[ActiveStrategyRecord, asyncio.Task[None]]] = {}
        self._statuses: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._reported = asyncio.Event()
        self._mirror = KvMirror(bus, STRATEGIES_BUCKET, only=only, on_change=self._load)

    async def problems(self) -> list[str]:
        """What keeps the runner from working now; empty when ready."""
        found = []
        if not self._bus.is_connected:
            found.append("NATS is not connected")
        if not self._mirror.is_loaded:
            found.append("the active strategies are not loaded yet")
        elif self._only is not None and self._only not in self._records:
            found.append(f"there is no record of {self._only}")
        return found

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._mirror.run(), name="strategies mirror")
                tasks.create_task(self._write_statuses(), name="strategy statuses")
                tasks.create_task(self._follow(tasks), name="follow strategies")
        finally:
            await self._sandbox.close()

    def _load(self, entries: Mapping[str, bytes]) -> None:
        records = {}
        for key, value in entries.items():
            try:
                records[key] = ActiveStrategyRecord.model_validate_json(value)
            except ValidationError:
                logger.exception("strategy record can't be read", extra={"bucket_key": key})
        self._records = records
        self._changed.set()

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        await self._mirror.wait_loaded()
        if self._only is None:  # else it is for whoever made the pod
            await self._remove_left_behind()
        while True:
            self._changed.clear()
            for key, (record, task) in list(self._running.items()):
                wanted = self._records.get(key)
                if wanted == record:
                    continue
                await _end(task)
                del self._running[key]
                if wanted is None:
                    self._statuses.pop(key, None)
                    self._reported.set()
                    await self._bus.delete_consumer(
                        CANDLES, runner_consumer(record.owner, record.name)
                    )
            for key, record in self._records.items():
                if key not in self._running:
                    task = tasks.create_task(self._work(key, record), name=f"strategy {key}")
                    self._running[key] = (record, task)
            await self._changed.wait()

    async def _remove_left_behind(self) -> None:
        """Consumers of strategies that were deleted while no runner ran."""
        wanted = {runner_consumer(each.owner, each.name) for each in self._records.values()}
        try:
            for name in await self._bus.consumer_names(CANDLES):
                if name.startswith(RUNNER_CONSUMERS) and name not in wanted:
                    await self._bus.delete_consumer(CANDLES, name)
        except Retryable as error:
            logger.warning("consumers can't be listed", extra={"error": str(error)})

    async def _work(self, key: str, record: ActiveStrategyRecord) -> None:
        def report(status: StrategyStatus) -> None:
            self._statuses[key] = status.encode()
            self._reported.set()

        while True:
            strategy = StrategyTask(record, bus=self._bus, sandbox=self._sandbox, report=report)
            try:
                await strategy.run()
                return  # stopped, suspended, or refused for good: a changed record starts it again
            except Exception:
                # One strategy's trouble must not end the others'; it is begun anew.
                logger.exception("strategy's task failed", extra={"strategy": key})
                report(
                    record.say(
                        StrategyPhase.FAILED,
                        "InternalError",
                        "the runner failed; its log says why. It is tried again",
                    )
                )
            await pause(_AFTER_FAILURE_SECONDS)

    async def _write_statuses(self) -> None:
        await self._mirror.wait_loaded()
        bucket = Bucket(self._bus, STRATEGY_STATUS_BUCKET, only=self._only)
        while True:
            self._reported.clear()
            try:
                await bucket.make_equal(dict(self._statuses))
            except Retryable as error:
                logger.warning("statuses wait", extra={"error": str(error)})
            await pause(_STATUS_SECONDS)
            await wait_set(self._reported, _REPEAT_SECONDS)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=5.0)
