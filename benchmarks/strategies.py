"""Section 5: strategies in their sealed processes: memory of each, and how fast they decide.

The example of the user guide (two averages over 200 candles), by way of the product's own zygote
and host. A decision's time is from the question to its checked answer; side by side, all strategies
are asked at the same moment, as on a candle's close, and each one's time counts from there.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import psutil

from aristobot.contracts.messages import StrategyContext
from aristobot.core.sample_candles import sample_candles
from aristobot.runner.sealed import SealedStrategy, StrategyLimits
from aristobot.runner.zygote_host import Zygote
from benchmarks.report import Section, percentile

_EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "ema_10_20.py"
_WARM = 200
_FLAT = StrategyContext(quantity=Decimal(0), free_quote=Decimal(1000))
_LIMITS = StrategyLimits(history_candles=_WARM, decision_seconds=60)


def run(folder: Path, *, quick: bool) -> Section:
    section = Section("Strategies in sealed processes (the EMA 10/20 example, 200 candles)")
    asyncio.run(_measure(section, counts=(1, 20) if quick else (1, 20, 200), quick=quick))
    return section


async def _measure(section: Section, *, counts: tuple[int, ...], quick: bool) -> None:
    zygote = Zygote()
    started = time.perf_counter()
    await zygote.start()
    section.add("zygote starts", time.perf_counter() - started, "s")
    strategies: list[SealedStrategy] = []
    code = _EXAMPLE.read_text()
    try:
        for count in counts:
            while len(strategies) < count:
                strategies.append(await _strategy(zygote, code, section))
            rounds = (100 if quick else 300) if count <= 20 else 50
            before = _processor_seconds(strategies)
            times = await _decide(strategies, rounds)
            used = _processor_seconds(strategies)
            _add(section, zygote, strategies, times)
            ours, theirs = ((b - a) / len(times) * 1000 for a, b in zip(before, used, strict=True))
            note = f"its host {ours:.2f}; whatever else the machine does"
            section.add(f"{_who(count)}: processor time of each", theirs, "ms", note=note)
            if count == 1:
                await _beside_loops(section, zygote, strategies, rounds)
    finally:
        await zygote.close()


async def _strategy(zygote: Zygote, code: str, section: Section) -> SealedStrategy:
    started = time.perf_counter()
    strategy = await zygote.spawn(_LIMITS)
    await strategy.load(code)
    section.raw.setdefault("spawn_and_load_ms", []).append(_ms_since(started))
    await strategy.warm(sample_candles(_WARM))
    return strategy


async def _decide(strategies: list[SealedStrategy], rounds: int) -> list[float]:
    """Milliseconds of each decision, all strategies asked at once, round after round."""
    # Each group of strategies has its own number of candles behind it; a fresh history is the same.
    history = sample_candles(_WARM + rounds)
    await asyncio.gather(*(strategy.warm(history[:_WARM]) for strategy in strategies))
    times: list[float] = []

    async def one(strategy: SealedStrategy, place: int, asked: float) -> None:
        await strategy.decide(history[place], _FLAT)
        times.append(_ms_since(asked))

    for place in range(_WARM, _WARM + rounds):
        asked = time.perf_counter()
        await asyncio.gather(*(one(strategy, place, asked) for strategy in strategies))
    return times


async def _beside_loops(
    section: Section, zygote: Zygote, strategies: list[SealedStrategy], rounds: int
) -> None:
    """The same while two others never come to an end, as long as their time lasts."""
    loops = [await zygote.spawn(_LIMITS) for _ in range(2)]
    tasks = []
    for loop in loops:
        await loop.load(_EXAMPLE.read_text().replace("return False", "while True: pass"))
        tasks.append(asyncio.create_task(loop.decide(sample_candles(1)[0], _FLAT)))
    times = await _decide(strategies, rounds)
    still = sum(not task.done() for task in tasks)
    for loop in loops:
        await loop.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    note = f"{still} of 2 endless loops ran all the while"
    section.add("1 strategy beside endless loops: p50", percentile(times, 0.5), "ms", note=note)
    section.add("1 strategy beside endless loops: p99", percentile(times, 0.99), "ms")
    section.raw["beside_loops_ms"] = times


def _add(
    section: Section, zygote: Zygote, strategies: list[SealedStrategy], times: list[float]
) -> None:
    count = len(strategies)
    who = _who(count)
    section.add(f"{who}: decision p50", percentile(times, 0.5), "ms")
    section.add(f"{who}: decision p99", percentile(times, 0.99), "ms")
    own = [_memory(strategy.pid) for strategy in strategies]
    assert zygote.pid is not None
    shared = _memory(zygote.pid)
    pss = sum(memory.pss for memory in own)
    private = sum(memory.uss for memory in own)
    section.add(
        f"{who}: memory of each (PSS)",
        pss / count / 2**20,
        "MB",
        note=f"of it alone {private / count / 2**20:.1f}; "
        f"all with the zygote {(pss + shared.pss) / 2**20:,.0f}",
    )
    section.raw[who] = {
        "decision_ms": times,
        "pss_bytes": [memory.pss for memory in own],
        "zygote_pss_bytes": shared.pss,
    }


def _who(count: int) -> str:
    return "1 strategy" if count == 1 else f"{count} strategies"


def _processor_seconds(strategies: list[SealedStrategy]) -> tuple[float, float]:
    """What this process and all strategies have used so far."""
    times = [psutil.Process(strategy.pid).cpu_times() for strategy in strategies]
    return time.process_time(), sum(each.user + each.system for each in times)


def _memory(pid: int) -> psutil._pslinux.pfullmem:
    return psutil.Process(pid).memory_full_info()


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
