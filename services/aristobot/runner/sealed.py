"""The host's side of a sealed strategy: asks it, waits no longer than allowed, believes nothing.

Flow: `zygote_host` makes a `SealedStrategy` of a fresh process; the runner loads code into it,
warms it with candles, and asks it on each close. The process runs only while it is asked something:
in between it is stopped (SIGSTOP), so that no strategy computes on others' time. One that answers
late, or nonsense, is killed. Deliberately not here: what an answer means (`answers`), and starting
a strategy again after a failure, which is the runner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from aristobot.contracts.messages import StrategyContext
from aristobot.core.candles import Candle
from aristobot.core.strategy_code import Problem
from aristobot.runner.answers import (
    Answer,
    Decided,
    Loaded,
    StrategyAnswer,
    StrategyFailed,
    Warmed,
    bad_answer,
    parse_answer,
    parse_done,
    to_strategy_answer,
)
from aristobot.runner.framing import (
    HEADER,
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    BadFrame,
    length_of,
    pack,
    unpack,
)

_END_SECONDS = 2.0
_LOAD_SECONDS = 20.0
_WARM_SECONDS = 20.0
_MEMORY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class StrategyLimits:
    """`memory_mebibytes`: what the strategy may use beyond what all strategies share."""

    memory_mebibytes: int = 256
    decision_seconds: float = 5.0
    history_candles: int = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, or minus the signal that ended it."""

    exit_code: int
    max_rss_bytes: int


class SealedStrategy:
    """One strategy's process, as its host sees it. Made by `Zygote.spawn`."""

    def __init__(
        self,
        pid: int,
        pidfd: int | None,
        limits: StrategyLimits,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        turns: asyncio.Semaphore,
        ended: asyncio.Future[Ended | None],
    ) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._limits = limits
        self._reader, self._writer = streams
        #: How many may decide at the same moment; a decision's time counts from its turn on.
        self._turns = turns
        self._asking = asyncio.Lock()
        self._requests = 0
        #: Set by the zygote's host when the process has ended; None: the zygote was lost with it.
        self.ended = ended
        self._last_open: datetime | None = None
        #: Why we ended it; None: we didn't.
        self._ended_because: StrategyFailed | None = None
        #: When it was measured, and what.
        self._memory: tuple[float, int | None] = (-_MEMORY_SECONDS, None)

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return not self.ended.done() and not self._writer.is_closing()

    async def load(self, code: str) -> str:
        """Judge and run the strategy's module; the name of its class. Raises `StrategyFailed`."""
        loaded = await self.examine(code)
        if loaded.class_name is None:
            problem = loaded.problems[0].to_problem() if loaded.problems else None
            if problem is None:
                raise await self._give_up(bad_answer())
            raise StrategyFailed(problem.code, _told(problem), line=problem.line)
        return loaded.class_name

    async def examine(self, code: str) -> Loaded:
        """Like `load`, but what the code's text shows to be wrong is returned, all of it."""
        answer = await self._ask({"ask": "load", "code": code}, _LOAD_SECONDS)
        return await self._done(Loaded, answer)

    async def warm(self, candles: Sequence[Candle]) -> None:
        """Give it its history, oldest first, in place of what it had. Raises `StrategyFailed`."""
        length = self._limits.history_candles
        kept = candles[-length:]
        request = {"ask": "warm", "candles": [_row(each) for each in kept], "length": length}
        await self._done(Warmed, await self._ask(request, _WARM_SECONDS))
        self._last_open = kept[-1].open_time if kept else None

    async def decide(
        self, candle: Candle, context: StrategyContext, *, everything: bool = False
    ) -> StrategyAnswer:
        """Add the candle to its history, and ask what to do. Raises `StrategyFailed`.

        The candle must be later than the last one (`ValueError`). `everything`: all methods are
        called whether they matter or not, for a trial.
        """
        if self._last_open is not None and candle.open_time <= self._last_open:
            raise ValueError(f"the candle of {candle.open_time} is not after {self._last_open}")
        self._last_open = candle.open_time
        request = {
            "ask": "decide",
            "candle": _row(candle),
            "balance": float(context.free_quote),
            "position": _position(context),
            "everything": everything,
        }
        async with self._turns:
            answer = await self._ask(request, self._limits.decision_seconds)
        decided = await self._done(Decided, answer)
        try:
            return to_strategy_answer(decided, candle.close, context, tuple(answer.printed))
        except StrategyFailed as failed:
            if failed.reason == "BadAnswer":
                await self.close()
            raise

    def memory_bytes(self) -> int | None:
        """What the process costs: its own pages, and its share of the shared ones.

        Measured at most twice a minute, because the kernel takes milliseconds to add it up.
        """
        if not self.is_alive:
            return None
        now = asyncio.get_running_loop().time()
        measured_at, memory = self._memory
        if now - measured_at >= _MEMORY_SECONDS:
            memory = _memory_of(self.pid)
            self._memory = (now, memory)
        return memory

    async def close(self) -> None:
        """End the process, whatever it does."""
        self._ended_because = self._ended_because or StrategyFailed("Interrupted", "it was ended")
        self._writer.close()
        self._signal(signal.SIGKILL)
        try:
            await self._wait_ended(_END_SECONDS)
        finally:
            pidfd, self._pidfd = self._pidfd, None
            if pidfd is not None:
                os.close(pidfd)

    async def _done(self, model: type[Any], answer: Answer) -> Any:
        try:
            return parse_done(model, answer)
        except StrategyFailed as failed:
            raise await self._give_up(failed) from None

    async def _ask(self, request: dict[str, Any], seconds: float) -> Answer:
        """Ask and wait. Whatever goes wrong but the strategy's own failure ends the process."""
        async with self._asking:
            if not self.is_alive:
                raise await self._gone()
            self._requests += 1
            frame = pack({"id": self._requests, **request}, MAX_REQUEST_BYTES)
            try:
                async with asyncio.timeout(seconds):
                    content = await self._converse(frame)
            except TimeoutError:
                message = f"no answer within {seconds:g} s: the strategy's process was ended"
                raise await self._give_up(StrategyFailed("Timeout", message)) from None
            except BadFrame:
                raise await self._give_up(bad_answer()) from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise await self._gone() from None
            except BaseException:
                # Cancelled in between: a later question would get this one's answer.
                why = "it was ended while it was asked"
                self._ended_because = StrategyFailed("Interrupted", why)
                self._writer.close()
                self._signal(signal.SIGKILL)
                raise
            try:
                return parse_answer(content, self._requests)
            except StrategyFailed as failed:
                if failed.reason in {"BadAnswer", "NotSealed"}:
                    raise await self._give_up(failed) from None
                raise

    async def _converse(self, frame: bytes) -> dict[str, Any]:
        self._writer.write(frame)
        self._signal(signal.SIGCONT)
        await self._writer.drain()
        header = await self._reader.readexactly(HEADER.size)
        body = await self._reader.readexactly(length_of(header, MAX_ANSWER_BYTES))
        self._signal(signal.SIGSTOP)
        return unpack(body)

    async def _give_up(self, failed: StrategyFailed) -> StrategyFailed:
        """End the process for that reason."""
        self._ended_because = failed
        await self.close()
        return failed

    async def _gone(self) -> StrategyFailed:
        """Why the process is not there any more, or speaks no more."""
        if self._ended_because is not None:
            return self._ended_because
        # It hangs up a moment before it has ended. Killed now, it would seem to be killed.
        await self._wait_ended(_END_SECONDS)
        if not self.ended.done():
            failed = StrategyFailed("BadAnswer", "the strategy closed the channel to its host")
        elif (ended := self.ended.result()) is None:
            failed = StrategyFailed("SandboxLost", "the process strategies come from has ended")
        else:
            failed = _why(ended.exit_code)
        return await self._give_up(failed)

    async def _wait_ended(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):  # the caller looks whether it has
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.ended)

    def _signal(self, number: signal.Signals) -> None:
        if self.ended.done():
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)


async def open_channel(end: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The host's end of the socket pair, as streams."""
    return await asyncio.open_unix_connection(sock=end)


def _memory_of(pid: int) -> int | None:
    with contextlib.suppress(psutil.Error, OSError):
        memory = psutil.Process(pid).memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    return None


def _why(exit_code: int) -> StrategyFailed:
    if exit_code >= 0:
        return StrategyFailed(
            "Exited", f"the strategy ended its own process (exit code {exit_code})"
        )
    name = signal.Signals(-exit_code).name
    if exit_code == -signal.SIGSYS:
        return StrategyFailed(
            "ForbiddenCall", "the strategy made a system call of another architecture"
        )
    if exit_code == -signal.SIGKILL:
        return StrategyFailed(
            "Killed", "the system ended the strategy's process (SIGKILL): likely memory ran out"
        )
    return StrategyFailed("Crashed", f"the strategy's process crashed ({name})")


def _told(problem: Problem) -> str:
    where = "" if problem.column is None else f"column {problem.column}: "
    return where + problem.message


def _row(candle: Candle) -> list[float]:
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return [int(candle.open_time.timestamp() * 1000), *(float(number) for number in numbers)]


def _position(context: StrategyContext) -> dict[str, float | None] | None:
    if context.quantity <= 0:
        return None
    prices = {
        "entry_price": context.entry_price,
        "stop_loss_price": context.stop_loss_price,
        "take_profit_price": context.take_profit_price,
    }
    return {
        "quantity": float(context.quantity),
        **{name: None if price is None else float(price) for name, price in prices.items()},
    }
