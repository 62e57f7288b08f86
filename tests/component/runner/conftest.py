"""One zygote per test module: real sealed processes, forked from it for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from aristobot.runner.sealed import SealedStrategy, StrategyLimits
from aristobot.runner.zygote_host import Zygote

Spawn = Callable[..., Awaitable[SealedStrategy]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def zygote() -> AsyncIterator[Zygote]:
    zygote = Zygote()
    await zygote.start()
    yield zygote
    await zygote.close()


@pytest_asyncio.fixture(loop_scope="module")
async def spawn(zygote: Zygote) -> AsyncIterator[Spawn]:
    """Make a sealed process; `code` is loaded if given. All are ended after the test."""
    made: list[SealedStrategy] = []

    async def make(code: str | None = None, limits: StrategyLimits | None = None) -> SealedStrategy:
        strategy = await zygote.spawn(limits or StrategyLimits(decision_seconds=20))
        made.append(strategy)
        if code is not None:
            await strategy.load(code)
        return strategy

    yield make
    for strategy in made:
        await strategy.close()
