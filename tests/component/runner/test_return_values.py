"""What a strategy's methods return becomes exact amounts, or a sentence for its author."""

from __future__ import annotations

from decimal import Decimal

import pytest

from aristobot.contracts.messages import Level, StrategyContext
from aristobot.runner.answers import StrategyAnswer, StrategyFailed
from tests.component.runner.conftest import Spawn
from tests.component.runner.strategies import FLAT, candles, strategy

pytestmark = pytest.mark.asyncio(loop_scope="module")

_NUMPY = "import numpy as np\nimport pandas as pd\nfrom decimal import Decimal\nimport math"


async def _decide(spawn: Spawn, context: StrategyContext = FLAT, **methods: str) -> StrategyAnswer:
    sealed = await spawn(strategy(top=_NUMPY, **methods))
    history = candles(2)
    assert history[1].close == Decimal("101.12")
    await sealed.warm(history[:1])
    return await sealed.decide(history[1], context)


@pytest.mark.parametrize(
    "value", ["True", "np.True_", "np.float64(2) > 1", "pd.Series([1, 2]).iloc[-1] > 1"]
)
async def test_truth_is_pythons_or_numpys(spawn: Spawn, value: str) -> None:
    assert (await _decide(spawn, should_long=f"return {value}")).action == "buy"


@pytest.mark.parametrize("value", ["None", "1", "'yes'", "pd.Series([True])", "np.nan", "pd.NA"])
async def test_anything_else_is_no_yes(spawn: Spawn, value: str) -> None:
    with pytest.raises(StrategyFailed, match=r"^should_long\(\) returned .*return True or False"):
        await _decide(spawn, should_long=f"return {value}")


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("10", "10"),
        ("0.1", "0.1"),
        ("self.balance * 0.1", "100.05"),
        ("self.balance", "1000.50"),
        ("self.balance * 1.0000000000001", "1000.50"),
        ("np.float64(12.5)", "12.5"),
        ("np.int64(12)", "12"),
        ("np.array(7.25)", "7.25"),
        ("Decimal('12.345')", "12.345"),
    ],
)
async def test_a_size_is_an_exact_amount_of_quote(spawn: Spawn, value: str, amount: str) -> None:
    assert (await _decide(spawn, size=f"return {value}")).quote_amount == Decimal(amount)


@pytest.mark.parametrize("value", ["0", "0.0", "self.balance * 1e-13"])
async def test_a_size_of_nothing_buys_nothing_and_says_so(spawn: Spawn, value: str) -> None:
    answer = await _decide(spawn, size=f"return {value}")
    assert answer.action == "none"
    assert answer.remark == "calculate_position_size() returned 0, so nothing is bought"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-1", "BadPositionSize"),
        ("math.nan", "BadPositionSize"),
        ("math.inf", "BadPositionSize"),
        ("self.balance * 1.01", "BadPositionSize"),
        ("1e300", "BadPositionSize"),
        ("10**400", "Exception"),
        ("Decimal('1' * 70)", "BadReturnValue"),
        ("None", "BadReturnValue"),
        ("True", "BadReturnValue"),
        ("'10'", "BadReturnValue"),
        ("[10]", "BadReturnValue"),
        ("1j", "BadReturnValue"),
        ("pd.Series([1.0, 2.0])", "BadReturnValue"),
    ],
)
async def test_a_size_that_is_none_is_refused(spawn: Spawn, value: str, reason: str) -> None:
    with pytest.raises(StrategyFailed) as caught:
        await _decide(spawn, size=f"return {value}")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("0.02", Level(kind="fraction", value=Decimal("0.02"))),
        ("np.float64(0.02)", Level(kind="fraction", value=Decimal("0.02"))),
        ("99", Level(kind="price", value=Decimal(99))),
        ("self.candles['low'].min()", Level(kind="price", value=Decimal(99))),
        ("price(5)", Level(kind="price", value=Decimal(5))),
        ("fraction(np.float64(0.95))", Level(kind="fraction", value=Decimal("0.95"))),
        ("None", None),
    ],
)
async def test_a_stop_is_read(spawn: Spawn, value: str, level: Level | None) -> None:
    answer = await _decide(spawn, stop=f"return {value}")
    assert answer.stop_loss == level
    assert answer.take_profit == Level(kind="fraction", value=Decimal("0.04"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("math.nan", "BadLevel"),
        ("0", "BadLevel"),
        ("-0.02", "BadLevel"),
        ("150", "BadLevel"),
        ("False", "BadReturnValue"),
        ("'2%'", "BadReturnValue"),
        ("price(math.nan)", "BadLevel"),
        ("price(None)", "Exception"),
    ],
)
async def test_a_stop_that_can_not_be_meant_is_no_order(
    spawn: Spawn, value: str, reason: str
) -> None:
    with pytest.raises(StrategyFailed) as caught:
        await _decide(spawn, stop=f"return {value}")
    assert caught.value.reason == reason


async def test_a_target_with_two_meanings_is_no_order(spawn: Spawn) -> None:
    sealed = await spawn(strategy(target="return 0.9"))
    cheap = [
        candle.__class__(**{**{n: getattr(candle, n) for n in candle.__slots__}, "close": price})
        for candle, price in zip(candles(2), (Decimal("0.5"), Decimal("0.6")), strict=True)
    ]
    await sealed.warm(cheap[:1])
    with pytest.raises(StrategyFailed, match=r"return price\(0\.9\) or fraction\(0\.9\)") as caught:
        await sealed.decide(cheap[1], FLAT)
    assert caught.value.reason == "AmbiguousLevel"
