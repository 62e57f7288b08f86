"""Starts the zygote, has it fork a process per strategy, and learns how each one ends.

The host's side of `zygote`. When the zygote dies, the kernel ends all its children; `gone` says so,
and `start` may be called again. Deliberately not here: asking a strategy (`sealed`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from typing import Any

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.sandbox.availability import ALLOW_UNSEALED, has_wall
from aristobot.runner.sealed import Ended, SealedStrategy, StrategyLimits, open_channel

#: Importing pandas on a machine that does much else at the time.
_START_SECONDS = 60.0
_SPAWN_SECONDS = 10.0
_END_SECONDS = 2.0
_LARGEST_MESSAGE = 64 * 1024
_MEBIBYTE = 1024 * 1024
#: Strategies that decide at the same moment. Many more than processors, so that a few that never
#: answer hold nobody up; not all, because 200 at once would eat up each other's time to answer.
_SIDE_BY_SIDE = 32

#: All that the zygote and its children find in their environment: one thread, UTC.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TZ": "UTC",
}


class Zygote:
    """The process that strategies' processes are forked from.

    `allow_unsealed`: run strategies also where this system can't seal them.
    """

    def __init__(self, *, allow_unsealed: bool = False) -> None:
        self._allow_unsealed = allow_unsealed
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._heard = b""
        self._descriptors: list[int] = []
        #: What the question with the number `_asked` is answered.
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._asked = 0
        self._spawning = asyncio.Lock()
        self._turns = asyncio.Semaphore(_SIDE_BY_SIDE)
        #: Of each child, set when it ends.
        self._ends: dict[int, asyncio.Future[Ended | None]] = {}
        #: Set while there is no zygote.
        self.gone = asyncio.Event()
        self.gone.set()

    async def start(self) -> None:
        """Start it and wait until it can fork. Raises `Misconfigured` and `Retryable`."""
        if not self.gone.is_set():
            return
        if not has_wall() and not self._allow_unsealed:
            raise Misconfigured(
                "this system offers neither seccomp nor Landlock, so a strategy could read your "
                f"files and reach the network; set {ALLOW_UNSEALED}=1 to run it all the same"
            )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        arguments = [str(theirs.fileno()), str(os.getpid())]
        arguments.append("unsealed" if self._allow_unsealed else "sealed")
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "aristobot.runner.zygote", *arguments),
                env=_ENVIRONMENT,
                cwd="/",
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._channel = ours
        self._heard, self._asked = b"", 0
        self._answer = asyncio.get_running_loop().create_future()
        self.gone.clear()
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)
        try:
            ready = await self._answered(_START_SECONDS, "did not start")
        except BaseException:
            await self.close()
            raise
        if ready["threads"] != 1:
            await self.close()
            raise Misconfigured(
                f"the process that strategies are forked from has {ready['threads']} threads, and "
                "such a one can't be forked safely"
            )

    async def spawn(self, limits: StrategyLimits) -> SealedStrategy:
        """A fresh sealed process without code. Raises `Retryable` when the zygote is gone."""
        async with self._spawning:
            if self._channel is None:
                raise Retryable("the process that strategies come from is not running")
            try:
                ours, theirs = socket.socketpair()
            except OSError as error:
                raise Retryable(f"no channel to a strategy can be made: {error}") from error
            self._asked += 1
            request = {
                "id": self._asked,
                "memory_bytes": limits.memory_mebibytes * _MEBIBYTE,
            }
            self._answer = asyncio.get_running_loop().create_future()
            with theirs:
                try:
                    # A few bytes into an empty buffer: one spawn is asked for at a time.
                    frame = json.dumps(request).encode()
                    socket.send_fds(self._channel, [frame], [theirs.fileno()])
                except OSError as error:
                    ours.close()
                    raise Retryable("the process that strategies come from has ended") from error
            try:
                answer = await self._answered(_SPAWN_SECONDS, "forks no process")
                if "refused" in answer:
                    raise Retryable(f"no process can be made for a strategy: {answer['refused']}")
                streams = await open_channel(ours)
            except BaseException:
                # A child that was made for nobody finds its channel closed, and ends.
                ours.close()
                _drop(self._answer)
                raise
            return SealedStrategy(
                answer["spawned"],
                answer["pidfd"],
                limits,
                streams,
                turns=self._turns,
                ended=answer["ended"],
            )

    async def close(self) -> None:
        """End it and all that it forked."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        self._lost()
        with contextlib.suppress(TimeoutError):  # killed it is; the event loop reaps it later
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self.gone.is_set() else self._process.pid

    async def _answered(self, seconds: float, otherwise: str) -> dict[str, Any]:
        assert self._answer is not None
        try:
            async with asyncio.timeout(seconds):
                return await self._answer
        except TimeoutError:
            await self.close()
            raise Retryable(
                f"the process that strategies come from {otherwise} within {seconds:g} s"
            ) from None

    def _hear(self) -> None:
        """Read what the zygote says; its silence for ever is its end."""
        channel = self._channel
        assert channel is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, _LARGEST_MESSAGE, 8)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._lost()
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        if "ended" in said:
            ended = self._ends.pop(said["ended"])
            if not ended.done():
                ended.set_result(Ended(said["exit_code"], said["max_rss_kib"] * 1024))
            return
        if "spawned" in said:
            said["ended"] = self._ends[said["spawned"]] = asyncio.get_running_loop().create_future()
            said["pidfd"] = self._descriptors.pop(0) if said["descriptors"] else None
        answer = self._answer
        if answer is not None and not answer.done() and said["id"] == self._asked:
            answer.set_result(said)
        elif said.get("pidfd") is not None:  # whoever asked was cancelled
            os.close(said["pidfd"])

    def _lost(self) -> None:
        """The zygote is gone, and the kernel ends its children."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(
                Retryable("the process that strategies come from has ended; see its log")
            )
        for ended in self._ends.values():
            if not ended.done():
                ended.set_result(None)
        self._ends.clear()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self.gone.set()


def _drop(answer: asyncio.Future[dict[str, Any]]) -> None:
    """Close the descriptor that came with an answer which nobody takes any more."""
    if answer.done() and not answer.cancelled() and answer.exception() is None:
        pidfd = answer.result().get("pidfd")
        if pidfd is not None:
            os.close(pidfd)
