"""The zygote's life: who is told of an end, and that nothing is left running."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aristobot.core.errors import Retryable
from aristobot.runner.answers import StrategyFailed
from aristobot.runner.sealed import StrategyLimits
from aristobot.runner.zygote_host import Zygote
from tests.component.runner.strategies import FLAT, candles, strategy

_LIMITS = StrategyLimits(decision_seconds=30, history_candles=50)


async def _gone(*pids: int | None) -> None:
    """Wait until none of them runs; the test's own time limit ends the wait."""
    while any(pid is not None and _runs(pid) for pid in pids):
        await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_killed_zygote_is_noticed_and_started_again() -> None:
    zygote = Zygote()
    await zygote.start()
    first = zygote.pid
    assert first is not None
    history = candles(3)
    waiting, deciding = await zygote.spawn(_LIMITS), await zygote.spawn(_LIMITS)
    for sealed in (waiting, deciding):
        await sealed.load(strategy(should_long="while len(self.candles) > 2: pass"))
        await sealed.warm(history[:2])
    decision = asyncio.create_task(deciding.decide(history[2], FLAT))
    await asyncio.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(StrategyFailed) as caught:
        await decision
    assert caught.value.reason == "SandboxLost"
    await zygote.gone.wait()
    await _gone(waiting.pid, deciding.pid)
    with pytest.raises(StrategyFailed) as caught:
        await waiting.decide(history[2], FLAT)
    assert caught.value.reason == "SandboxLost"
    with pytest.raises(Retryable):
        await zygote.spawn(_LIMITS)
    await zygote.start()
    again = await zygote.spawn(_LIMITS)
    assert await again.load(strategy()) == "Mine"
    second = zygote.pid
    await zygote.close()
    await _gone(second, again.pid)


async def test_a_cancelled_question_ends_its_process() -> None:
    """Or the next question would get its answer."""
    zygote = Zygote()
    await zygote.start()
    sealed = await zygote.spawn(_LIMITS)
    history = candles(3)
    await sealed.load(strategy(should_long="__import__('time').sleep(5)"))
    await sealed.warm(history[:1])
    question = asyncio.create_task(sealed.decide(history[1], FLAT))
    await asyncio.sleep(0.1)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert not sealed.is_alive
    with pytest.raises(StrategyFailed) as caught:
        await sealed.decide(history[2], FLAT)
    assert caught.value.reason == "Interrupted"
    await _gone(sealed.pid)
    await zygote.close()


async def test_a_cancelled_spawn_leaves_no_process_and_no_confusion() -> None:
    zygote = Zygote()
    await zygote.start()
    before = len(os.listdir("/proc/self/fd"))
    for turns in range(6):
        abandoned = asyncio.create_task(zygote.spawn(_LIMITS))
        for _ in range(turns):
            await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.wait([abandoned])
        sealed = await zygote.spawn(_LIMITS)
        assert await sealed.load(strategy(top="__import__('os')")) == "Mine"
        if not abandoned.cancelled():
            await abandoned.result().close()
        children = psutil.Process(zygote.pid).children()
        while [child.pid for child in children if _runs(child.pid)] != [sealed.pid]:
            await asyncio.sleep(0.01)
        await sealed.close()
    while len(os.listdir("/proc/self/fd")) > before:
        await asyncio.sleep(0.01)
    await zygote.close()


async def test_a_fork_that_is_refused_harms_nobody() -> None:
    """As when the machine has no room left: here the zygote may open no more files."""
    zygote = Zygote()
    await zygote.start()
    assert zygote.pid is not None
    first = await zygote.spawn(_LIMITS)
    limit = resource.RLIMIT_NOFILE
    hard = resource.getrlimit(limit)[1]
    used = {int(name) for name in os.listdir(f"/proc/{zygote.pid}/fd")}
    free = [number for number in range(256) if number not in used]
    # Room for nothing, for the channel alone, and for the channel and the process.
    for room in (0, 1):
        resource.prlimit(zygote.pid, limit, (free[room], hard))
        with pytest.raises(Retryable, match=r"no process can be made .*Too many open files"):
            await zygote.spawn(_LIMITS)
    resource.prlimit(zygote.pid, limit, (free[2], hard))
    second = await zygote.spawn(_LIMITS)
    for sealed in (first, second):
        assert await sealed.load(strategy()) == "Mine"
    await second.close()
    assert [child.pid for child in psutil.Process(zygote.pid).children()] == [first.pid]
    await zygote.close()


async def test_no_descriptor_is_left_open() -> None:
    zygote = Zygote()
    await zygote.start()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        sealed = await zygote.spawn(_LIMITS)
        await sealed.load(strategy())
        await sealed.close()
        crashed = await zygote.spawn(_LIMITS)
        with pytest.raises(StrategyFailed):
            await crashed.load("__import__('os')._exit(0)\n" + strategy())
    while len(os.listdir("/proc/self/fd")) > before:  # transports close in their own time
        await asyncio.sleep(0.01)
    assert len(os.listdir(f"/proc/{zygote.pid}/fd")) < 10
    assert psutil.Process(zygote.pid).children() == []
    await zygote.close()


_HOST = """
import asyncio, sys
from aristobot.runner.sealed import StrategyLimits
from aristobot.runner.zygote_host import Zygote
from tests.component.runner.strategies import FLAT, candles, strategy

async def main():
    zygote = Zygote()
    await zygote.start()
    limits = StrategyLimits(decision_seconds=60)
    stopped, busy = await zygote.spawn(limits), await zygote.spawn(limits)
    await stopped.load(strategy())
    await busy.load(strategy(should_long="while True: pass"))
    await busy.warm(candles(1))
    print(zygote.pid, stopped.pid, busy.pid, flush=True)
    await busy.decide(candles(2)[1], FLAT)

asyncio.run(main())
"""


async def test_a_killed_host_leaves_nothing_running() -> None:
    """Neither the zygote, nor a strategy that is stopped, nor one that computes."""
    root = Path(__file__).parents[3]
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOST, cwd=root, stdout=subprocess.PIPE
    )
    assert host.stdout is not None
    pids = [int(word) for word in (await host.stdout.readline()).split()]
    assert len(pids) == 3
    assert all(_runs(pid) for pid in pids)
    host.kill()
    await host.wait()
    await _gone(*pids)
