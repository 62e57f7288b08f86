"""What a deleted strategy still has to do, from every state that the engine may tell of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.contracts.keys import cancel_decision_id, manual_decision_id
from aristobot.contracts.messages import (
    AskedBy,
    CancelDecision,
    Decision,
    HolderPosition,
    HoldingsReply,
    RecordedDecision,
    strategy_holder,
)
from aristobot.contracts.wind_down import ATTEMPT_SECONDS, Progress, Step, WindDown
from aristobot.core.candles import Timeframe

DELETED = datetime(2026, 11, 21, 12, tzinfo=UTC)
SOON, LATER = DELETED + timedelta(seconds=5), DELETED + timedelta(seconds=ATTEMPT_SECONDS)


def wind_down(*, sells: bool = True) -> WindDown:
    return WindDown(
        owner="demo",
        active_strategy="ema",
        broker="main",
        symbol="BTCUSDT",
        timeframe=Timeframe.M1,
        deleted_at=DELETED,
        sells=sells,
    )


def held(quantity: str = "0.1", *, orders: int = 0, under_way: bool = False, **more: Any) -> Any:
    fields = {"holder": strategy_holder("ema"), "symbol": "BTCUSDT"} | more
    return HolderPosition(
        quantity=Decimal(quantity), open_orders=orders, has_order_under_way=under_way, **fields
    )


def ruled(outcome: str, code: str | None = None, *, at: datetime = SOON, **more: Any) -> Any:
    """What became of the attempt that was under way at `at`, whichever kind is asked about."""
    return [
        RecordedDecision(
            decision_id=identifier, outcome=outcome, code=code, reason="because", **more
        )
        for identifier in wind_down().questions(at, {})["main"]
    ]


def step(*what: Any, now: datetime = SOON, sells: bool = True, known: bool = True) -> Step:
    flat = [each for item in what for each in (item if isinstance(item, list) else [item])]
    reply = HoldingsReply(
        is_broker_known=known,
        positions=tuple(each for each in flat if isinstance(each, HolderPosition)),
        decisions=tuple(each for each in flat if isinstance(each, RecordedDecision)),
    )
    return wind_down(sells=sells).step(now, {"main": reply})


NOT_FOUND = "BrokerNotFound"


@pytest.mark.parametrize(
    ("shown", "progress", "reason", "publishes"),
    [
        (step(), Progress.UNDER_WAY, "Selling", True),
        (step(held(orders=2)), Progress.UNDER_WAY, "Selling", True),
        (step(held("0", under_way=True)), Progress.UNDER_WAY, "OrderUnderWay", False),
        (step(ruled("ignored", "nothing_held")), Progress.DONE, "NothingHeld", False),
        (step(ruled("ordered", order_status="filled")), Progress.DONE, "PositionClosed", False),
        # The wish of the attempt before is as good, once nothing is held.
        (step(ruled("ordered", order_status="filled"), now=LATER), Progress.DONE,
         "PositionClosed", False),
        (step(held("0.00001"), ruled("rejected", "too_small")), Progress.DONE, "DustLeft", False),
        (step(held(), ruled("ordered", order_status="filled")), Progress.UNDER_WAY,
         "Selling", False),
        (step(held(), ruled("ordered")), Progress.UNDER_WAY, "Selling", False),
        (step(held(), ruled("ignored", "order_under_way")), Progress.UNDER_WAY, "Selling", False),
        (step(held(), ruled("ordered", order_status="rejected")), Progress.REFUSED,
         "SaleRefused", False),
        (step(held(), ruled("rejected", "not_in_account")), Progress.REFUSED,
         "SaleRefused", False),
        (step(held(), ruled("rejected", "expired"), now=LATER), Progress.UNDER_WAY,
         "Selling", True),
        (step(known=False), Progress.DONE, "NothingHeld", False),
        (step(held(), known=False), Progress.REFUSED, NOT_FOUND, False),
        (step(sells=False), Progress.UNDER_WAY, "CancellingOrders", True),
        (step(held(orders=2), sells=False), Progress.UNDER_WAY, "CancellingOrders", True),
        (step(held(orders=2), ruled("cancelling"), sells=False), Progress.UNDER_WAY,
         "CancellingOrders", False),
        (step(held(orders=2), ruled("cancelling"), sells=False, now=LATER), Progress.UNDER_WAY,
         "CancellingOrders", True),
        (step(held(under_way=True), ruled("cancelling"), sells=False), Progress.UNDER_WAY,
         "CancellingOrders", False),
        (step(held(orders=2), ruled("failed", "internal"), sells=False), Progress.REFUSED,
         "CancelRefused", False),
        (step(held(), ruled("cancelling"), sells=False), Progress.DONE, "OrdersCancelled", False),
        (step(held(), sells=False, known=False), Progress.DONE, "NothingHeld", False),
        (step(held(orders=1), sells=False, known=False), Progress.REFUSED, NOT_FOUND, False),
        # Another holder's are none of its business.
        (step(held(holder="webhook", orders=3), ruled("ignored", "nothing_held")), Progress.DONE,
         "NothingHeld", False),
    ],
)  # fmt: skip
def test_each_state_has_its_step(
    shown: Step, progress: Progress, reason: str, publishes: bool
) -> None:
    assert (shown.progress, shown.reason, bool(shown.publish)) == (progress, reason, publishes)
    assert shown.message


@pytest.mark.parametrize(
    ("left", "sale"),
    [(held("0", orders=1), ruled("ordered", order_status="filled")),
     (held("0.00001", orders=1), ruled("rejected", "too_small"))],
    ids=["sold", "dust"],
)  # fmt: skip
def test_orders_that_a_sale_left_behind_are_cancelled(left: Any, sale: list[Any]) -> None:
    own = manual_decision_id("demo", "ema", "main", "BTCUSDT", DELETED)
    (asked,) = step(left, [each for each in sale if each.decision_id == own]).publish
    assert isinstance(asked, CancelDecision)


def test_what_it_holds_elsewhere_is_sold_too() -> None:
    elsewhere = {
        "main": HoldingsReply(is_broker_known=True, positions=(held(symbol="ETHUSDT"),)),
        "old": HoldingsReply(is_broker_known=True, positions=(held(),)),
    }
    asked = {(each.broker, each.symbol) for each in wind_down().step(SOON, elsewhere).publish}
    assert asked == {("main", "BTCUSDT"), ("main", "ETHUSDT"), ("old", "BTCUSDT")}
    ids = [each.decision_id for each in wind_down().step(SOON, elsewhere).publish]
    assert len(set(ids)) == len(ids)
    questions = wind_down().questions(SOON, elsewhere)
    assert {broker: len(of) for broker, of in questions.items()} == {"main": 4, "old": 2}


def test_an_unanswered_question_is_waited_for() -> None:
    shown = wind_down().step(SOON, {})
    assert (shown.progress, shown.reason, shown.publish) == (
        Progress.UNDER_WAY,
        "WaitingForEngine",
        (),
    )


@given(seconds=st.integers(-60, 100_000), sells=st.booleans())
def test_a_decision_follows_from_its_attempt_alone(seconds: int, sells: bool) -> None:
    """Whoever publishes it, and whenever within the attempt: it is the same one."""
    now = DELETED + timedelta(seconds=seconds)
    (asked,) = step(now=now, sells=sells).publish
    moment = DELETED + timedelta(seconds=max(0, seconds // ATTEMPT_SECONDS) * ATTEMPT_SECONDS)
    key = manual_decision_id if sells else cancel_decision_id
    assert asked.decided_at == moment
    assert asked.decision_id == key("demo", "ema", "main", "BTCUSDT", moment)
    assert asked.decision_id in wind_down().questions(now, {})["main"]
    assert asked.asked_by is AskedBy.MANUAL
    # As the engine reads it.
    assert type(asked).model_validate_json(asked.encode()) == asked
    assert isinstance(asked, Decision) is sells
