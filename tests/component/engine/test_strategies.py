"""A strategy's way through the engine: decided, recorded, ordered, protected, and asked about."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.keys import manual_decision_id
from aristobot.contracts.messages import AskedBy, Level
from aristobot.contracts.streams import DECISIONS, WEBHOOKS, decisions_consumer, engine_consumer
from aristobot.core.errors import Refused, Retryable
from aristobot.core.orders import Side
from aristobot.runner.engine_client import strategy_context
from tests.component.engine.conftest import NAME, SYMBOL, Trading
from tests.component.gateway.conftest import eventually

STOP = Level(kind="fraction", value=Decimal("0.02"))
TARGET = Level(kind="fraction", value=Decimal("0.04"))


async def test_a_position_from_the_decision_to_its_stop(trading: Trading) -> None:
    bought = await trading.publish(trading.decision(Side.BUY, stop_loss=STOP, take_profit=TARGET))
    opened = await trading.until("open")
    (row,) = await trading.recorded(1)
    assert (row["id"], row["outcome"], row["code"]) == (bought.decision_id, "ordered", None)
    (entry,) = [o for o in await trading.desk.rows() if o["protects"] is None]
    assert entry["command_id"] == row["command_id"] == opened.last_command_id
    average = entry["executed_quote"] / entry["executed_quantity"]
    assert opened.stop_loss.price == pytest.approx(average * Decimal("0.98"))
    assert opened.take_profit.price == pytest.approx(average * Decimal("1.04"))

    async def is_protected() -> bool:
        return len(await trading.desk.open_at_exchange()) == 2

    await eventually(is_protected, what="stop and target")
    context = await trading.context()
    assert context.quantity == opened.quantity == entry["executed_quantity"] * Decimal("0.999")
    assert context.entry_price == opened.entry_price
    assert context.stop_loss_price == opened.stop_loss.price
    assert not context.has_order_under_way
    assert context.free_quote == 100_000 - entry["executed_quote"]

    await trading.publish(trading.decision(Side.BUY))
    (_, again) = await trading.recorded(2)
    assert (again["outcome"], again["code"]) == ("ignored", "already_held")

    await trading.desk.price("48000")
    closed = await trading.until("flat")
    assert closed.quantity == 0
    context = await trading.context()
    assert (context.quantity, context.entry_price, context.stop_loss_price) == (0, None, None)


async def test_a_sale_by_hand_ends_the_position_and_its_protection(trading: Trading) -> None:
    await trading.publish(trading.decision(Side.BUY, stop_loss=STOP, take_profit=TARGET))
    await trading.until("open")
    # A stopped strategy, whose own decisions count no more.
    await trading.know(trading.strategy.model_copy(update={"active": False}))
    now = datetime.now(UTC)
    by_hand = trading.decision(
        Side.SELL,
        asked_by=AskedBy.MANUAL,
        decided_at=now,
        decision_id=manual_decision_id(
            trading.desk.key.owner, NAME, trading.desk.key.broker, SYMBOL, now
        ),
    )
    await trading.publish(by_hand)
    await trading.until("flat")

    async def is_bare() -> bool:
        return not await trading.desk.open_at_exchange()

    await eventually(is_bare, what="no order left at the exchange")
    free, locked = await trading.desk.balance()
    assert locked == 0
    assert free < Decimal("0.00001")
    sale = [o for o in await trading.desk.rows() if o["side"] == "sell" and not o["protects"]]
    assert [o["asked_by"] for o in sale] == ["manual"]


async def test_equal_decisions_are_one_order(trading: Trading) -> None:
    decision = trading.decision(Side.BUY)
    for copy in range(3):
        await trading.publish(decision, message_id=f"{decision.decision_id}-{copy}")
    await trading.until("open")
    last = await trading.publish(trading.decision(Side.BUY))
    rows = await trading.recorded(2)
    assert [row["id"] for row in rows] == [decision.decision_id, last.decision_id]
    assert len(await trading.desk.at_exchange()) == 1


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_of_two_verdicts_on_one_candle_the_first_counts(
    trading: Trading, caplog: pytest.LogCaptureFixture, is_stopped: bool
) -> None:
    """The second comes later than the stream remembers ids."""
    bought = await trading.publish(trading.decision(Side.BUY))
    await trading.until("open")
    if is_stopped:
        await trading.know(trading.strategy.model_copy(update={"active": False}))
        await asyncio.sleep(0.5)
    await trading.publish(bought, message_id=f"{bought.decision_id}-again")
    sold = bought.model_copy(update={"side": Side.SELL, "quote_amount": None})
    await trading.publish(sold, message_id=f"{bought.decision_id}-other")
    last = await trading.publish(trading.decision(Side.BUY))
    rows = await trading.recorded(2)
    assert [(row["id"], row["side"]) for row in rows] == [
        (bought.decision_id, "buy"),
        (last.decision_id, "buy"),
    ]
    assert len(await trading.desk.at_exchange()) == 1
    (said,) = [each for each in caplog.records if "decided otherwise" in each.message]
    assert said.__dict__["side"] == "sell"


async def test_a_made_up_decision_does_not_take_the_place_of_the_true_one(
    trading: Trading,
) -> None:
    true = trading.decision(Side.BUY)
    other_candle = true.candle_close + timedelta(minutes=1)
    forged = true.model_copy(update={"candle_close": other_candle, "side": Side.SELL})
    await trading.publish(forged, message_id="forged")
    await trading.publish(true)
    await trading.until("open")
    first, second = await trading.recorded(2)
    assert (first["outcome"], first["code"]) == ("rejected", "foreign_id")
    assert first["id"] != true.decision_id
    assert (second["id"], second["outcome"]) == (true.decision_id, "ordered")


async def test_what_cannot_be_read_or_came_on_anothers_subject_holds_nobody_up(
    trading: Trading,
) -> None:
    key = trading.desk.key
    for number, payload in enumerate(
        (b"nonsense", trading.decision(Side.BUY, active_strategy="other").encode())
    ):
        await trading.desk.bus.publish(
            DECISIONS,
            f"strategies.decided.{key}.{NAME}",
            payload,
            message_id=f"{key}-bad-{number}",
            headers={},
        )
    good = await trading.publish(trading.decision(Side.BUY))
    rows = await trading.recorded(1)
    assert [row["id"] for row in rows] == [good.decision_id]


async def test_a_new_strategys_first_decision_waits_until_it_is_known(trading: Trading) -> None:
    """The runner may know it a moment before the engine."""
    await trading.know()
    await asyncio.sleep(0.5)
    await trading.publish(trading.decision(Side.BUY))
    await trading.know(trading.strategy)
    await trading.until("open")


async def test_a_decision_that_waited_too_long_is_expired(trading: Trading) -> None:
    """Its broker's gateway is away; another broker's decision doesn't wait for it."""
    changes = {"broker": "absent", "name": "stuck", "max_signal_age_seconds": 1}
    stuck = trading.strategy.model_copy(update=changes)
    await trading.know(trading.strategy, stuck, brokers=("main", "absent"))
    await trading.publish(trading.decision(Side.BUY, of=stuck))
    done = await trading.publish(trading.decision(Side.BUY))
    first, second = await trading.recorded(2)
    assert (first["id"], first["outcome"]) == (done.decision_id, "ordered")
    assert (second["outcome"], second["code"]) == ("rejected", "expired")
    assert "nobody serves" in second["reason"]


async def test_questions_that_have_no_answer_say_why(trading: Trading) -> None:
    desk = trading.desk
    with pytest.raises(Refused):
        await strategy_context(desk.bus, desk.key, active_strategy=NAME, symbol="NOSUCH")
    await trading.know(brokers=())

    async def is_forgotten() -> bool:
        try:
            await strategy_context(desk.bus, desk.key, active_strategy=NAME, symbol=SYMBOL)
        except Retryable as error:
            return "knows no broker" in str(error)
        return False

    await eventually(is_forgotten, what="the broker being forgotten")


async def test_a_deleted_brokers_consumers_are_removed(trading: Trading) -> None:
    key, bus = trading.desk.key, trading.desk.bus
    ours = {decisions_consumer(key), engine_consumer(key)}

    async def present() -> set[str]:
        names = [await bus.consumer_names(stream) for stream in (DECISIONS, WEBHOOKS)]
        return ours & {name for found in names for name in found}

    async def are_there() -> bool:
        return await present() == ours

    async def are_gone() -> bool:
        return not await present()

    await eventually(are_there, what="both consumers")
    await trading.know(brokers=())
    await eventually(are_gone, what="both consumers gone")
    await trading.know(trading.strategy)  # and it comes back
    await trading.publish(trading.decision(Side.BUY))
    await trading.until("open")


async def test_another_strategy_of_the_same_broker_has_a_position_of_its_own(
    trading: Trading,
) -> None:
    other: ActiveStrategyRecord = trading.strategy.model_copy(update={"name": "other"})
    await trading.know(trading.strategy, other)
    await trading.publish(trading.decision(Side.BUY))
    await trading.until("open")
    key = trading.desk.key
    context = await strategy_context(trading.desk.bus, key, active_strategy="other", symbol=SYMBOL)
    assert (context.quantity, context.entry_price) == (0, None)
    assert (await trading.context()).quantity > 0
