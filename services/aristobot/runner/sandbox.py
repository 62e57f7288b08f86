"""The sealed processes as the runner uses them: made when needed, made again when they ended.

`Sandbox` keeps one zygote for all strategies; `SealedSession` one strategy's process, with the
code loaded and the candles it has seen. Deliberately not here: how a process is sealed and spoken
with (`runner.sealed`), and when a strategy is asked (`runner.strategy_task`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.messages import StrategyContext
from aristobot.core.candles import Candle
from aristobot.runner.answers import StrategyAnswer, StrategyFailed
from aristobot.runner.sealed import SealedStrategy, StrategyLimits
from aristobot.runner.zygote_host import Zygote


class Sandbox:
    """Gives sealed processes; starts the zygote the first time, and again when it died."""

    def __init__(self, *, allow_unsealed: bool = False) -> None:
        self._zygote = Zygote(allow_unsealed=allow_unsealed)
        self._starting = asyncio.Lock()

    async def spawn(self, limits: StrategyLimits) -> SealedStrategy:
        """Raises `Misconfigured` where nothing can be sealed, `Retryable` when it died just now."""
        async with self._starting:
            await self._zygote.start()
        return await self._zygote.spawn(limits)

    async def close(self) -> None:
        async with self._starting:
            await self._zygote.close()


class SealedSession:
    """One strategy's process. `restarts` counts the processes after the first."""

    def __init__(self, sandbox: Sandbox, record: ActiveStrategyRecord) -> None:
        self._sandbox = sandbox
        self._record = record
        self._process: SealedStrategy | None = None
        self._newest: Candle | None = None
        self._made = 0

    @property
    def restarts(self) -> int:
        return max(self._made - 1, 0)

    def memory_bytes(self) -> int | None:
        return self._process.memory_bytes() if self._process is not None else None

    async def ready(self, candles: Sequence[Candle]) -> SealedStrategy:
        """A process that has the code and exactly these candles. Raises `StrategyFailed`."""
        try:
            return await self._ready(candles)
        except StrategyFailed:
            await self.close()
            raise

    async def decide(
        self, before: Sequence[Candle], candle: Candle, context: StrategyContext
    ) -> StrategyAnswer:
        """Ask about `candle`, which follows `before`. Raises `StrategyFailed`.

        A process that ended with the zygote is not the strategy's fault: a new one is asked.
        """
        try:
            return await self._decide(before, candle, context)
        except StrategyFailed as failed:
            if not failed.is_ours:
                raise
        return await self._decide(before, candle, context)

    async def _decide(
        self, before: Sequence[Candle], candle: Candle, context: StrategyContext
    ) -> StrategyAnswer:
        process = await self.ready(before)
        try:
            answer = await process.decide(candle, context)
        except StrategyFailed:
            # Whatever is left of it: an exception may have left the code's own state half done.
            await self.close()
            raise
        self._newest = candle
        return answer

    async def close(self) -> None:
        process, self._process, self._newest = self._process, None, None
        if process is not None:
            await process.close()

    async def _ready(self, candles: Sequence[Candle]) -> SealedStrategy:
        process = self._process
        if process is None or not process.is_alive:
            await self.close()
            process = await self._sandbox.spawn(
                StrategyLimits(
                    memory_mebibytes=self._record.memory_mebibytes,
                    decision_seconds=self._record.decision_seconds,
                    history_candles=self._record.history_candles,
                )
            )
            self._process = process
            self._made += 1
            await process.load(self._record.code)
        newest = candles[-1] if candles else None
        if newest != self._newest:
            await process.warm(candles)
            self._newest = newest
        return process
