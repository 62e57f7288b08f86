"""Checks a strategy before it is applied: its text, then a trial on sample candles.

Flow: `aristobot strategy check` and `aristobot apply` call `check`. The code is judged and run in a
sealed process (`sealed`), never in the caller's. A *problem* is what would keep the strategy from
working; a *note* is what its author may want to know. Deliberately not here: whether the strategy
is any good, which is the backtest's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from aristobot.contracts.messages import StrategyContext
from aristobot.core.candles import Candle
from aristobot.core.sample_candles import sample_candles
from aristobot.core.strategy_code import Problem
from aristobot.platform.sandbox.availability import unsealed_is_allowed
from aristobot.runner.answers import StrategyAnswer, StrategyFailed
from aristobot.runner.sealed import SealedStrategy, StrategyLimits
from aristobot.runner.zygote_host import Zygote

_WARM_CANDLES = 200
_DECISIONS = 100
#: For the whole trial: 100 decisions of a strategy that is quick enough for live use.
_TRIAL_SECONDS = 60.0
_AT_FIRST = StrategyContext(quantity=Decimal(0), free_quote=Decimal(1000))
_MOST_NOTES = 20
_LIMITS = StrategyLimits(history_candles=_WARM_CANDLES)
#: What depends on the price and on chance, so that sample candles can't judge it.
_JUDGED_LIVE = frozenset({"AmbiguousLevel", "BadLevel", "BadPositionSize"})


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`class_name` None: there is no one class that derives from `Strategy`."""

    class_name: str | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


async def check(code: str, *, zygote: Zygote | None = None) -> CheckResult:
    """Judge the code and try it out. Raises `Misconfigured` where strategies can't be sealed.

    `zygote`: one that runs already; by default one is started for this, which takes 1 to 2 s.
    """
    async with _running(zygote) as host:
        sealed = await host.spawn(_LIMITS)
        try:
            return await _check(sealed, code)
        finally:
            await sealed.close()


@asynccontextmanager
async def _running(zygote: Zygote | None) -> AsyncIterator[Zygote]:
    if zygote is not None:
        yield zygote
        return
    own = Zygote(allow_unsealed=unsealed_is_allowed())
    await own.start()
    try:
        yield own
    finally:
        await own.close()


async def _check(sealed: SealedStrategy, code: str) -> CheckResult:
    try:
        loaded = await sealed.examine(code)
    except StrategyFailed as failed:
        return CheckResult(None, (_problem(failed),), _printed(failed.printed))
    if loaded.problems:
        found = tuple(each.to_problem() for each in loaded.problems)
        return CheckResult(loaded.class_name, found)
    trial = _Trial(sealed)
    try:
        async with asyncio.timeout(_TRIAL_SECONDS):
            await trial.run()
    except TimeoutError:
        message = f"{_DECISIONS} decisions on sample candles take longer than {_TRIAL_SECONDS:g} s"
        return CheckResult(loaded.class_name, (Problem("Timeout", message),), trial.all_notes())
    except StrategyFailed as failed:
        notes = trial.all_notes() + _printed(failed.printed)
        return CheckResult(loaded.class_name, (_problem(failed),), notes)
    return CheckResult(loaded.class_name, (), trial.all_notes())


@dataclass(slots=True)
class _Trial:
    """The strategy on sample candles, its buys and sells filled at the close."""

    sealed: SealedStrategy
    context: StrategyContext = _AT_FIRST
    buys: int = 0
    sells: int = 0
    notes: dict[str, None] = field(default_factory=dict)

    async def run(self) -> None:
        """Raises `StrategyFailed` for what would fail live as well."""
        history = sample_candles(_WARM_CANDLES + _DECISIONS + 1)
        await self.sealed.warm(history[:_WARM_CANDLES])
        for candle in history[_WARM_CANDLES:-1]:
            await self._decide(candle)
        if self.buys == 0:
            await self._try_unasked(history[-1])

    def all_notes(self) -> tuple[str, ...]:
        counted = (
            f"on {_DECISIONS} sample candles it bought {_times(self.buys)} and sold "
            f"{_times(self.sells)}"
        )
        return (counted, *self.notes)

    async def _decide(self, candle: Candle) -> None:
        try:
            answer = await self.sealed.decide(candle, self.context)
        except StrategyFailed as failed:
            if failed.reason not in _JUDGED_LIVE:
                raise
            self._note(f"on a sample candle, where the price is {candle.close}, {failed}")
            return
        for note in (*_printed(answer.printed), *([answer.remark] if answer.remark else [])):
            self._note(note)
        self._fill(answer, candle.close)

    def _fill(self, answer: StrategyAnswer, price: Decimal) -> None:
        if answer.action == "buy" and answer.quote_amount is not None:
            self.buys += 1
            self.context = StrategyContext(
                quantity=answer.quote_amount / price,
                entry_price=price,
                free_quote=self.context.free_quote - answer.quote_amount,
            )
        elif answer.action == "sell":
            self.sells += 1
            gained = self.context.quantity * price
            self.context = StrategyContext(
                quantity=Decimal(0), free_quote=self.context.free_quote + gained
            )

    async def _try_unasked(self, candle: Candle) -> None:
        """Call what no signal led to. What fails then may be fine after one: a note, no problem."""
        self._note("it never bought, so its calculate_ methods were tried without a signal")
        try:
            await self.sealed.decide(candle, self.context, everything=True)
        except StrategyFailed as failed:
            self._note(f"tried without a signal, it failed ({failed.reason}): {failed}")

    def _note(self, text: str) -> None:
        if len(self.notes) < _MOST_NOTES:
            self.notes[text] = None


def _problem(failed: StrategyFailed) -> Problem:
    return Problem(failed.reason, failed.plain, failed.line)


def _printed(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"it printed: {line}" for line in lines)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
