"""The zygote's life: who is told of an end, and that nothing is left running."""

from __future__ import annotations

import asyncio
import os
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
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before
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
