"""A strategy in its sealed process decides as its author wrote it."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from aristobot.contracts.messages import Level, StrategyContext
from aristobot.runner.answers import StrategyFailed
from aristobot.runner.sealed import StrategyLimits
from tests.component.runner.conftest import Spawn
from tests.component.runner.strategies import EXAMPLE, FLAT, HOLDING, candles, strategy

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_example_of_the_specification_runs_unmodified(spawn: Spawn) -> None:
    sealed = await spawn(EXAMPLE)
    history = candles(300)
    await sealed.warm(history[:200])
    context, actions = FLAT, []
    for candle in history[200:]:
        answer = await sealed.decide(candle, context)
        if answer.action == "buy":
            assert answer.quote_amount == Decimal("100.05")
            assert answer.stop_loss == Level(kind="fraction", value=Decimal("0.02"))
            assert answer.take_profit == Level(kind="fraction", value=Decimal("0.04"))
            context = HOLDING
        elif answer.action == "sell":
            context = FLAT
        actions.append(answer.action)
    # A wave of 57 minutes crosses its averages once up and once down.
    assert [action for action in actions if action != "none"][:3] == ["buy", "sell", "buy"]


async def test_a_strategy_sees_its_candles_balance_and_position(spawn: Spawn) -> None:
    sealed = await spawn(
        strategy(
            init="print(len(candles), list(candles.columns), candles.index[-1].isoformat(), "
            "candles['close'].iloc[-1], candles.dtypes.unique(), balance, position)",
        ),
        StrategyLimits(history_candles=5, decision_seconds=20),
    )
    history = candles(12)
    await sealed.warm(history[:10])
    first = await sealed.decide(history[10], FLAT)
    second = await sealed.decide(history[11], HOLDING)
    assert first.printed == (
        "5 ['open', 'high', 'low', 'close', 'volume'] 2026-01-01T00:10:00+00:00 "
        f"{history[10].close} [dtype('float64')] 1000.5 None",
    )
    assert second.printed[0].endswith(
        "900.0 Position(quantity=0.5, entry_price=101.25, stop_loss_price=99.225, "
        "take_profit_price=None)"
    )


async def test_what_a_strategy_adds_to_its_candles_is_gone_the_next_time(spawn: Spawn) -> None:
    sealed = await spawn(
        strategy(init="print(len(candles.columns)); candles['close'] = 0; candles['x'] = 1")
    )
    history = candles(12)
    await sealed.warm(history[:10])
    for candle in history[10:]:
        assert (await sealed.decide(candle, FLAT)).printed == ("5",)


@pytest.mark.parametrize(
    ("context", "long", "short", "action"),
    [
        (FLAT, "True", "True", "buy"),
        (FLAT, "False", "True", "none"),
        (HOLDING, "True", "False", "none"),
        (HOLDING, "True", "True", "sell"),
    ],
    ids=["flat buys", "flat never sells", "holding never buys", "holding sells"],
)
async def test_long_is_asked_when_flat_and_short_when_holding(
    spawn: Spawn, context: StrategyContext, long: str, short: str, action: str
) -> None:
    sealed = await spawn(strategy(should_long=f"return {long}", should_short=f"return {short}"))
    history = candles(2)
    await sealed.warm(history[:1])
    assert (await sealed.decide(history[1], context)).action == action


async def test_a_failing_decision_names_its_line_and_the_next_one_is_asked(spawn: Spawn) -> None:
    sealed = await spawn(
        strategy(should_long="return 1 / (len(self.candles) - 3) < 0", top="import math")
    )
    history = candles(5)
    await sealed.warm(history[:2])
    with pytest.raises(StrategyFailed, match=r"^line 7: ZeroDivisionError: .*zero$") as caught:
        await sealed.decide(history[2], FLAT)
    assert (caught.value.reason, caught.value.line) == ("Exception", 7)
    assert sealed.is_alive
    assert (await sealed.decide(history[3], FLAT)).action == "none"


async def test_the_indicators_work_as_they_do_outside(spawn: Spawn) -> None:
    """One by one, as columns, and a set of them, for which the library would start processes."""
    sealed = await spawn(
        strategy(
            top="import pandas_ta as ta",
            init="print(round(ta.rsi(candles['close'], length=14).iloc[-1], 6)); "
            "candles.ta.macd(append=True); candles.ta.strategy('Momentum', verbose=False); "
            "print(len(candles.columns) > 40, 'MACD_12_26_9' in candles.columns)",
        )
    )
    history = candles(200)
    await sealed.warm(history[:199])
    rsi, columns = (await sealed.decide(history[199], FLAT)).printed
    assert columns == "True True"
    closes = [float(candle.close) for candle in history]
    assert float(rsi) == pytest.approx(_relative_strength(closes, 14), abs=1e-5)


def _relative_strength(closes: list[float], length: int) -> float:
    """Wilder's index, computed by hand: an average that begins with the first change."""
    changes = [b - a for a, b in itertools.pairwise(closes)]
    gain, loss = max(changes[0], 0.0), max(-changes[0], 0.0)
    for change in changes[1:]:
        gain += (max(change, 0.0) - gain) / length
        loss += (max(-change, 0.0) - loss) / length
    return 100 * gain / (gain + loss)
