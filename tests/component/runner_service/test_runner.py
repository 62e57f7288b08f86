"""The runner: one decision for each candle that calls for one, whoever else runs or fails."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import psutil

from aristobot.contracts.keys import decision_id
from aristobot.contracts.messages import Level, StrategyContext, StrategyPhase
from aristobot.core.orders import Side
from tests.component.runner_service.conftest import (
    ALWAYS_LONG,
    START,
    Surroundings,
    candle,
    eventually,
    running_runner,
)


async def test_a_closed_candle_leads_to_a_decision_with_its_levels(
    nats_url: str, around: Surroundings
) -> None:
    record = around.record("ema")
    await around.want(record)
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.close_candle(60)
        (decision,) = await around.decisions(1)
    close = candle(60).close_time
    assert decision.decision_id == decision_id(record.owner, "ema", record.uid, close)
    assert (decision.side, decision.candle_close) == (Side.BUY, close)
    assert decision.quote_amount == Decimal(100)
    assert decision.stop_loss == Level(kind="fraction", value=Decimal("0.02"))
    assert decision.take_profit == Level(kind="fraction", value=Decimal("0.04"))


async def test_two_runners_by_mistake_make_one_decision(
    nats_url: str, around: Surroundings
) -> None:
    await around.want(around.record("ema"))
    async with running_runner(nats_url), running_runner(nats_url):
        await around.status("ema", "Running")
        for number in (60, 61, 62):
            await around.close_candle(number)
        decisions = await around.decisions(3, settle_seconds=4.0)  # longer than a redelivery takes
    assert [each.candle_close for each in decisions] == [
        candle(number).close_time for number in (60, 61, 62)
    ]


async def test_a_candle_decided_again_and_otherwise_leads_to_no_second_decision(
    nats_url: str, around: Surroundings
) -> None:
    """The first runner's buy is filled by the time the second one is asked about the candle."""
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.close_candle(60)
        (first,) = await around.decisions(1)
    around.context = StrategyContext(
        quantity=Decimal("0.5"), entry_price=Decimal(90), free_quote=Decimal(1000)
    )
    async with running_runner(nats_url):
        await around.close_candle(60, copy="again")
        await around.status("ema", "DecidedBefore")
        await around.close_candle(61)
        decisions = await around.decisions(2, settle_seconds=0.5)
    assert decisions[0] == first
    assert [(each.side, each.candle_close) for each in decisions] == [
        (Side.BUY, candle(60).close_time),
        (Side.SELL, candle(61).close_time),
    ]


async def test_it_sells_only_what_it_holds(nats_url: str, around: Surroundings) -> None:
    around.context = StrategyContext(
        quantity=Decimal("0.5"), entry_price=Decimal(90), free_quote=Decimal(1000)
    )
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.close_candle(60)
        (decision,) = await around.decisions(1)
    assert decision.side is Side.SELL
    assert decision.quote_amount is None


async def test_nothing_is_decided_while_an_order_is_under_way(
    nats_url: str, around: Surroundings
) -> None:
    around.context = around.context.model_copy(update={"has_order_under_way": True})
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.close_candle(60)
        await around.status("ema", "OrderUnderWay")
    assert await around.decisions(0, settle_seconds=0.5) == []


async def test_a_candle_that_comes_too_late_is_seen_and_not_traded_on(
    nats_url: str, around: Surroundings
) -> None:
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.close_candle(60, is_late=True, late_seconds=61.0)
        await around.status("ema", "SignalTooOld")
        await around.close_candle(61)
        (decision,) = await around.decisions(1)
    assert decision.candle_close == candle(61).close_time


async def test_a_hole_is_filled_from_the_broker_before_it_decides(
    nats_url: str, around: Surroundings
) -> None:
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        around.history = 65  # the exchange has what the heartbeat didn't tell
        await around.close_candle(65)
        await around.decisions(1)
        status = await around.status("ema", "Running")
    assert status.candles == 50


async def test_start_end_pause_and_stop(nats_url: str, around: Surroundings) -> None:
    later = START + timedelta(days=1)
    await around.want(
        around.record("early", start=later),
        around.record("over", end=START),
        around.record("paused", paused=True),
        around.record("stopped", active=False),
    )
    async with running_runner(nats_url):
        await around.status("early", "NotStarted")
        await around.status("over", "Ended")
        await around.status("paused", "Suspended")
        await around.status("stopped", "Stopped")
        await around.close_candle(60)
        assert await around.decisions(0, settle_seconds=1.0) == []
        # Resumed, it begins with the next candle.
        await around.want(around.record("paused"))
        await around.status("paused", "Running")
        await around.close_candle(61)
        (decision,) = await around.decisions(1, settle_seconds=0.5)
    assert (decision.active_strategy, decision.candle_close) == ("paused", candle(61).close_time)


async def test_a_failing_strategy_says_why_and_its_neighbour_decides(
    nats_url: str, around: Surroundings
) -> None:
    broken = ALWAYS_LONG.replace("return True", "return 1 / 0")
    endless = ALWAYS_LONG.replace("return self.balance * 0.1", "exec('while True: pass')")
    await around.want(
        around.record("broken", broken),
        around.record("endless", endless, decision_seconds=0.5),
        around.record("syntax", "class ("),
        around.record("good"),
    )
    async with running_runner(nats_url):
        await around.status("good", "Running")
        await around.status("syntax", "SyntaxError")
        await around.close_candle(60)
        (decision,) = await around.decisions(1)
        assert decision.active_strategy == "good"
        status = await around.status("broken", "Exception")
        assert "division by zero" in status.message
        assert status.phase is StrategyPhase.FAILED
        await around.status("endless", "Timeout")


async def test_the_zygotes_death_costs_no_decision(nats_url: str, around: Surroundings) -> None:
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        for process in psutil.Process().children(recursive=True):
            if "aristobot.runner.zygote" in process.cmdline():
                process.kill()
        await around.close_candle(60)
        (decision,) = await around.decisions(1)
    assert decision.candle_close == candle(60).close_time


async def test_a_removed_strategy_leaves_nothing_behind(
    nats_url: str, around: Surroundings
) -> None:
    await around.want(around.record("ema"))
    async with running_runner(nats_url):
        await around.status("ema", "Running")
        await around.want()

        await eventually(around.statuses, lambda found: None if found else True)
        children = [
            process
            for process in psutil.Process().children(recursive=True)
            if "aristobot.runner.zygote" in process.cmdline()
        ]
    assert len(children) <= 1  # the zygote itself, no strategy


async def test_it_says_of_which_code_it_speaks(nats_url: str, around: Surroundings) -> None:
    """New code is the same resource of the same generation."""
    async with running_runner(nats_url):
        for code in (ALWAYS_LONG, ALWAYS_LONG + "\n# another\n"):
            record = around.record("ema", code=code)
            await around.want(record)
            said = await eventually(
                around.statuses,
                lambda found, record=record: next(
                    (each for each in found.values() if record.is_meant_by(each)), None
                ),
            )
            assert not around.record("ema", code="another = 1").is_meant_by(said)
