"""A position is the sum of what was executed, whatever order the reports come in."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.orders import OrderStatus, Side
from aristobot.core.positions import (
    Executed,
    Position,
    PositionState,
    apply_execution,
    begin_order,
)

_AMOUNTS = st.decimals("0.001", 100, places=3)


def _begin(position: Position, side: Side, command: str, *, sells_all: bool = False) -> Position:
    return begin_order(
        position,
        side=side,
        command_id=command,
        sells_all=sells_all,
        stop_loss_price=None,
        take_profit_price=None,
    )


def _fill(
    position: Position,
    command: str,
    side: Side,
    now: Executed,
    *,
    before: Executed | None = None,
    status: OrderStatus = OrderStatus.FILLED,
) -> Position:
    return apply_execution(
        position,
        command_id=command,
        side=side,
        status=status,
        before=before or Executed(),
        now=now,
    )


def test_a_buy_opens_and_brings_its_stop_and_target() -> None:
    opening = begin_order(
        Position(),
        side=Side.BUY,
        command_id="c1",
        sells_all=False,
        stop_loss_price=Decimal(90),
        take_profit_price=Decimal(120),
    )
    assert opening.state is PositionState.OPENING
    held = _fill(opening, "c1", Side.BUY, Executed(Decimal(2), Decimal(200), Decimal("0.002")))
    assert held.state is PositionState.OPEN
    assert held.quantity == Decimal("1.998")  # what the fee left of it
    assert held.cost == 200
    assert (held.stop_loss_price, held.take_profit_price) == (Decimal(90), Decimal(120))


def test_a_sale_of_everything_leaves_no_position_even_if_dust_remains() -> None:
    held = Position(PositionState.OPEN, Decimal("1.0005"), Decimal(100))
    closing = _begin(held, Side.SELL, "c2", sells_all=True)
    closed = _fill(closing, "c2", Side.SELL, Executed(Decimal(1), Decimal(110)))
    assert closed.state is PositionState.FLAT
    assert closed.quantity == 0


def test_a_rejected_order_leaves_what_was_held() -> None:
    held = Position(PositionState.OPEN, Decimal(3), Decimal(300))
    closing = _begin(held, Side.SELL, "c3", sells_all=True)
    after = _fill(closing, "c3", Side.SELL, Executed(), status=OrderStatus.REJECTED)
    assert after.state is PositionState.OPEN
    assert after.quantity == 3


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED])
def test_an_order_under_way_keeps_its_state(status: OrderStatus) -> None:
    opening = _begin(Position(), Side.BUY, "c4")
    moved = _fill(opening, "c4", Side.BUY, Executed(Decimal(1), Decimal(10)), status=status)
    assert moved.state is PositionState.OPENING
    assert moved.quantity == 1


@given(steps=st.lists(_AMOUNTS, min_size=1, max_size=6), data=st.data())
def test_reports_may_repeat_and_overtake(steps: list[Decimal], data: st.DataObject) -> None:
    """Cumulative reports in any order, any of them twice: the sum is that of the largest."""
    cumulative = [sum(steps[: i + 1], Decimal(0)) for i in range(len(steps))]
    reports = data.draw(st.permutations([*cumulative, *cumulative]))
    position, known = Position(), Executed()
    for quantity in reports:
        now = Executed(quantity, quantity * 10)
        position = _fill(
            position, "c", Side.BUY, now, before=known, status=OrderStatus.PARTIALLY_FILLED
        )
        known = now if now.quantity >= known.quantity else known
    assert position.quantity == cumulative[-1]
    assert position.cost == cumulative[-1] * 10


@given(bought=_AMOUNTS, share=st.decimals("0.01", "0.99", places=2))
def test_a_partial_sale_keeps_the_average_price(bought: Decimal, share: Decimal) -> None:
    held = Position(PositionState.OPEN, bought, bought * 7)
    sold = _fill(held, "s", Side.SELL, Executed(bought * share, bought * share * 9))
    assert sold.cost == pytest.approx(sold.quantity * 7)
