"""A deleted strategy's way out, as whoever executes the resources goes it: step, publish, ask."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest

from aristobot.contracts.messages import (
    WEBHOOK_HOLDER,
    AskedBy,
    HoldingsReply,
    Level,
    RecordedDecision,
    strategy_holder,
)
from aristobot.contracts.streams import BrokerKey
from aristobot.contracts.wind_down import ATTEMPT_SECONDS, Progress, Step, WindDown
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Retryable
from aristobot.core.orders import Side
from aristobot.platform.holdings import ask_holdings
from aristobot_operator.acting.holdings import Holdings
from aristobot_operator.acting.wind_down import WindDown as OperatorsWindDown
from aristobot_operator.cache import Cache
from tests.component.engine.conftest import NAME, SYMBOL, Trading
from tests.component.gateway.conftest import Row, eventually
from tests.component.gateway.test_cancel_orders import cancellation

STOP = Level(kind="fraction", value=Decimal("0.02"))
TARGET = Level(kind="fraction", value=Decimal("0.04"))


class Operator:
    """Winds a strategy down, and publishes each decision as often as it is told to.

    Each copy has a message id of its own, as if the stream had forgotten the one before.
    """

    def __init__(self, trading: Trading, *, sells: bool) -> None:
        self.trading = trading
        self.wind_down = WindDown(
            owner=trading.desk.key.owner,
            active_strategy=NAME,
            broker=trading.desk.key.broker,
            symbol=SYMBOL,
            timeframe=Timeframe.M1,
            deleted_at=datetime.now(UTC),
            sells=sells,
        )
        self.attempt = 0
        self.copies = 0
        self.replies: dict[str, HoldingsReply] = {}

    @property
    def now(self) -> datetime:
        return self.wind_down.deleted_at + timedelta(seconds=self.attempt * ATTEMPT_SECONDS)

    async def look(self) -> Step:
        for broker, ids in self.wind_down.questions(self.now, self.replies).items():
            self.replies[broker] = await ask_holdings(
                self.trading.desk.bus, BrokerKey(self.wind_down.owner, broker), ids
            )
        return self.wind_down.step(self.now, self.replies)

    async def go(self) -> Step:
        """One step, with what it publishes."""
        step = await self.look()
        for decision in step.publish:
            self.copies += 1
            await self.trading.publish(decision, message_id=f"{decision.decision_id}-{self.copies}")
        return step

    async def until(self, progress: Progress) -> Step:
        async def look() -> Step | None:
            step = await self.go()
            return step if step.progress is progress else None

        return await eventually(look, what=f"the wind-down being {progress}")


@pytest.fixture
async def stopped(trading: Trading) -> Trading:
    """Holds a protected position; its record is gone, as it is once its runner has stopped."""
    await trading.publish(trading.decision(Side.BUY, stop_loss=STOP, take_profit=TARGET))
    await trading.until("open")

    async def is_protected() -> bool:
        return len(await trading.desk.protecting()) == 2

    await eventually(is_protected, what="stop and target")
    await trading.know()
    return trading


async def sales(trading: Trading) -> list[Row]:
    rows = await trading.desk.rows()
    return [row for row in rows if row["side"] == "sell" and row["protects"] is None]


async def test_a_position_is_sold_once_however_often_it_is_asked_for(stopped: Trading) -> None:
    operator = Operator(stopped, sells=True)
    done = await operator.until(Progress.DONE)
    assert done.reason == "PositionClosed"
    assert operator.copies > 0
    (sale,) = await sales(stopped)
    assert (sale["status"], sale["asked_by"]) == ("filled", AskedBy.MANUAL)
    assert await stopped.desk.open_at_exchange() == []
    assert operator.replies["main"].positions == ()
    # Asked for again by whoever doesn't know, and in a later attempt: nothing is left to sell.
    operator.attempt = 1
    assert (await operator.until(Progress.DONE)).progress is Progress.DONE
    assert len(await sales(stopped)) == 1


async def test_two_attempts_at_once_never_sell_more_than_is_held(stopped: Trading) -> None:
    """The first waits for its turn so long that the others are published as well."""
    held = (await stopped.position()).quantity
    operator = Operator(stopped, sells=True)
    await operator.look()
    for operator.attempt in (0, 1, 2):
        (sale,) = operator.wind_down.step(operator.now, operator.replies).publish
        await stopped.publish(sale)
    await stopped.recorded(4)
    done = await operator.until(Progress.DONE)
    assert done.progress is Progress.DONE
    executed = sum(row["executed_quantity"] for row in await sales(stopped))
    assert 0 <= held - executed < Decimal("0.00001")
    by_hand = [row for row in await stopped.rows() if row["asked_by"] == "manual"]
    assert [row["outcome"] for row in by_hand] == ["ordered", "ignored", "ignored"]


async def test_where_nothing_is_held_no_gateway_is_needed(trading: Trading) -> None:
    await trading.desk.stop()
    try:
        done = await Operator(trading, sells=True).until(Progress.DONE)
        assert (done.reason, done.publish) == ("NothingHeld", ())
        done = await Operator(trading, sells=False).until(Progress.DONE)
        assert done.reason == "OrdersCancelled"
    finally:
        await trading.desk.start()
    assert await trading.desk.at_exchange() == []


async def test_what_the_exchange_takes_no_order_of_counts_as_closed(trading: Trading) -> None:
    await trading.publish(trading.decision(Side.BUY, quote_amount=Decimal(6)))
    await trading.until("open")
    await trading.desk.price("30000")
    operator = Operator(trading, sells=True)

    async def look() -> Step | None:
        step = await operator.go()
        # The gateway's price may be a moment old: then the exchange refuses it, and the next knows.
        operator.attempt += step.progress is Progress.REFUSED
        return step if step.progress is Progress.DONE else None

    done = await eventually(look, what="the wind-down")
    assert done.reason == "DustLeft"
    assert "0.00010989 of BTCUSDT stays in the account" in done.message
    assert "the exchange takes at least" in done.message
    assert len(await trading.desk.at_exchange()) == 1


async def test_orders_are_cancelled_and_the_coins_stay(stopped: Trading) -> None:
    before = await stopped.position()
    operator = Operator(stopped, sells=False)
    done = await operator.until(Progress.DONE)
    assert done.reason == "OrdersCancelled"
    assert await stopped.desk.open_at_exchange() == []
    after = await stopped.position()
    assert (after.quantity, after.state) == (before.quantity, before.state)
    assert after.stop_loss.price is after.take_profit.price is None
    free, locked = await stopped.desk.balance()
    assert (free, locked) == (before.quantity, 0)
    by_hand = [row for row in await stopped.rows() if row["asked_by"] == "manual"]
    assert [(row["outcome"], row["side"]) for row in by_hand] == [("cancelling", None)]
    # Its successor of the same name trades on, and is not waited for by the command.
    await stopped.know(stopped.strategy)
    await eventually(lambda: is_known(stopped), what="the engine knowing it")
    await stopped.publish(stopped.decision(Side.SELL))
    await stopped.until("flat")
    assert len(await sales(stopped)) == 1


async def is_known(trading: Trading) -> bool:
    return (await trading.context()).quantity > 0


async def test_a_decision_from_before_is_dealt_with_first(trading: Trading) -> None:
    """Its gateway is away while the strategy buys and is deleted: nothing may come after."""
    await trading.desk.stop()
    await trading.publish(trading.decision(Side.BUY, stop_loss=STOP))
    await asyncio.sleep(0.3)
    operator = Operator(trading, sells=False)
    step = await operator.go()
    assert step.progress is Progress.UNDER_WAY
    assert (await operator.look()).progress is Progress.UNDER_WAY
    await trading.know()
    assert (await operator.until(Progress.DONE)).reason == "OrdersCancelled"
    assert [row["outcome"] for row in await trading.rows()] == ["rejected", "ignored"]
    await trading.desk.start()


async def test_without_its_broker_the_user_is_told(stopped: Trading) -> None:
    await stopped.know(brokers=())
    operator = Operator(stopped, sells=True)

    async def is_refused() -> Step | None:
        step = await operator.look()
        return step if step.progress is Progress.REFUSED else None

    step = await eventually(is_refused, what="being refused")
    assert (step.reason, step.publish) == ("BrokerNotFound", ())
    assert "2 open orders in BTCUSDT on broker main" in step.message


async def test_a_refused_sale_says_why_and_is_tried_again(trading: Trading) -> None:
    """Somebody else's order, in the same account, has locked the coins."""
    await trading.publish(trading.decision(Side.BUY))
    held = (await trading.until("open")).quantity
    desk = trading.desk
    lot = held.quantize(Decimal("0.00001"), ROUND_DOWN)
    foreign = desk.command(Side.SELL, quantity=lot, price="90000", holder=WEBHOOK_HOLDER)
    await desk.send(foreign)

    async def is_resting() -> bool:
        return len(await desk.open_at_exchange()) == 1

    await eventually(is_resting, what="the other order")
    operator = Operator(trading, sells=True)
    step = await operator.until(Progress.REFUSED)
    assert step.reason == "SaleRefused"
    assert "locks it" in step.message
    assert (await operator.go()).publish == ()  # until the next attempt
    await desk.send(cancellation(desk, holder=WEBHOOK_HOLDER))
    assert (await desk.ended(foreign))["status"] == "cancelled"
    operator.attempt = 1
    assert (await operator.until(Progress.DONE)).reason == "PositionClosed"


async def test_holdings_show_every_holder(stopped: Trading) -> None:
    bought = (await stopped.rows())[0]["id"]
    ids = (bought, "no-such-decision")
    reply = await ask_holdings(stopped.desk.bus, stopped.desk.key, ids)
    assert reply.is_broker_known
    (held,) = reply.positions
    position = await stopped.position()
    assert (held.holder, held.symbol) == (strategy_holder(NAME), SYMBOL)
    assert (held.quantity, held.open_orders) == (position.quantity, 2)
    assert not held.has_order_under_way
    assert reply.decisions == (
        RecordedDecision(decision_id=bought, outcome="ordered", order_status="filled"),
    )
    # What is asked of another owner's broker of the same name is answered from their rows.
    other = BrokerKey(f"{stopped.desk.key.owner}-x", "main")
    reply = await ask_holdings(stopped.desk.bus, other, ids)
    assert reply == HoldingsReply(is_broker_known=False)
    await stopped.stop()
    with pytest.raises(Retryable):
        await ask_holdings(stopped.desk.bus, stopped.desk.key)
    await stopped.start()


async def test_the_operator_finds_what_its_namesake_left_elsewhere(stopped: Trading) -> None:
    """Detached with a position, applied anew on another pair, and deleted: both are closed."""
    key = stopped.desk.key
    found = {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": "ActiveStrategy",
        "metadata": {
            "name": NAME,
            "namespace": key.owner,
            "deletionTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "spec": {
            "strategyRef": {"name": "ema"},
            "brokerRef": {"name": key.broker},
            "symbol": "ETHUSDT",
            "timeframe": "1m",
            "onDelete": "closePositions",
        },
    }
    holdings = Holdings(lambda: {key}, lambda _: None)
    winding = OperatorsWindDown(Cache(), holdings)
    winding.use(stopped.desk.bus)
    polling = asyncio.create_task(holdings.run(stopped.desk.bus))
    try:

        async def is_done() -> str | None:
            with contextlib.suppress(Retryable):  # not connected in its first moment
                result = await winding.step(found)
                return result.text if result.is_done else None
            return None

        text = await eventually(is_done, what="the wind-down")
    finally:
        polling.cancel()
        await asyncio.wait([polling])
    assert text == "it holds nothing in ETHUSDT"
    assert len(await sales(stopped)) == 1
    assert await stopped.desk.open_at_exchange() == []
