"""A position is the sum of what was executed, whatever order the reports come in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.orders import OrderStatus, Side
from aristobot.core.positions import (
    Executed,
    Exit,
    Position,
    PositionState,
    apply_execution,
    begin_buy,
    begin_sell,
)

_AMOUNTS = st.decimals("0.001", 100, places=3)
_STEP = Decimal("0.001")


@dataclass(frozen=True)
class Report:
    """One event as the exchange's gateway announces it: cumulative."""

    command: str
    side: Side
    now: Executed
    status: OrderStatus = OrderStatus.FILLED


def _apply(position: Position, *reports: Report) -> Position:
    """Apply reports as the engine does, which keeps what is counted of each order."""
    known: dict[str, Executed] = {}
    for report in reports:
        before = known.get(report.command, Executed())
        position = apply_execution(
            position,
            command_id=report.command,
            side=report.side,
            status=report.status,
            before=before,
            now=report.now,
        )
        if report.now.quantity >= before.quantity:
            known[report.command] = report.now
    return position


def _bought(
    quantity: str, quote: str, fee: str = "0", *, command: str = "buy", **more: OrderStatus
) -> Report:
    return Report(
        command, Side.BUY, Executed(Decimal(quantity), Decimal(quote), Decimal(fee)), **more
    )


def _sold(quantity: str, *, command: str = "sell", **more: OrderStatus) -> Report:
    amount = Decimal(quantity)
    return Report(command, Side.SELL, Executed(amount, amount * 110), **more)


def _held(quantity: str = "2", quote: str = "200") -> Position:
    return _apply(begin_buy(Position(), command_id="buy", dust=_STEP), _bought(quantity, quote))


def test_a_buy_opens_and_brings_its_stop_and_target() -> None:
    opening = begin_buy(
        Position(),
        command_id="buy",
        dust=_STEP,
        stop_loss=Exit(Decimal(90)),
        take_profit=Exit(Decimal(120)),
    )
    assert opening.state is PositionState.OPENING
    held = _apply(opening, _bought("2", "200", "0.002"))
    assert held.state is PositionState.OPEN
    assert held.quantity == Decimal("1.998")  # what the fee left of it
    assert held.cost == 200
    assert (held.stop_loss.price, held.take_profit.price) == (Decimal(90), Decimal(120))


def test_levels_as_fractions_are_of_the_entrys_average_price() -> None:
    opening = begin_buy(
        Position(),
        command_id="buy",
        dust=_STEP,
        stop_loss=Exit(fraction=Decimal("0.02")),
        take_profit=Exit(fraction=Decimal("0.04")),
    )
    assert opening.stop_loss.price is None
    held = _apply(
        opening,
        _bought("1", "100", "0.001", status=OrderStatus.PARTIALLY_FILLED),
        _bought("2", "204", "0.002"),
    )
    assert held.stop_loss.price == Decimal("99.96")
    assert held.take_profit.price == Decimal("106.08")


def test_another_buy_keeps_the_levels_and_the_average_of_what_is_held() -> None:
    first = begin_buy(Position(), command_id="buy", dust=_STEP, stop_loss=Exit(Decimal(90)))
    held = _apply(first, _bought("2", "200"), _sold("1"))
    more = _apply(
        begin_buy(held, command_id="more", dust=_STEP), _bought("1", "140", command="more")
    )
    assert (more.quantity, more.cost, more.entry_price) == (2, 240, 120)
    assert more.stop_loss == Exit(Decimal(90))


def test_a_sale_of_everything_leaves_no_position_even_if_dust_remains() -> None:
    held = _held("1.0005", "100")
    closing = begin_sell(held, command_id="sell", dust=_STEP, all_of_it=Decimal(1))
    assert closing.state is PositionState.CLOSING
    assert _apply(closing, _sold("1")) == Position(last_command_id="sell")


def test_what_left_the_account_in_another_way_is_no_position_after_a_sale_of_everything() -> None:
    """A user moved half of it away: the sale is of all there is, and the position is over."""
    closing = begin_sell(_held("2"), command_id="sell", dust=_STEP, all_of_it=Decimal(1))
    assert _apply(closing, _sold("1")).state is PositionState.FLAT
    partly = _apply(closing, _sold("0.4", status=OrderStatus.CANCELLED))
    assert (partly.state, partly.quantity) == (PositionState.OPEN, Decimal("1.6"))


def test_a_stops_fill_closes_the_position_of_the_entry_it_protects() -> None:
    held = _held("1.9985")
    stopped = _apply(held, _sold("1.998", command="stop"))
    assert stopped == Position(last_command_id="buy")


def test_a_stop_that_filled_in_part_leaves_the_rest_open() -> None:
    partly = _sold("0.5", command="stop", status=OrderStatus.CANCELLED)
    left = _apply(_held(), partly)
    assert (left.state, left.quantity, left.cost) == (PositionState.OPEN, Decimal("1.5"), 150)
    closed = _apply(_held(), partly, _sold("1.5", command="close"))
    assert closed.state is PositionState.FLAT


def test_a_stop_that_fills_beside_a_sale_under_way_counts_once() -> None:
    """The gateway cancels the stop before it sells; what the stop sold first isn't sold again."""
    closing = begin_sell(_held(), command_id="sell", dust=_STEP, all_of_it=Decimal(2))
    reports = [
        _sold("0.5", command="stop", status=OrderStatus.CANCELLED),
        _sold("1.5", status=OrderStatus.FILLED),
    ]
    for order in (reports, reports[::-1]):
        assert _apply(closing, *order).state is PositionState.FLAT


def test_a_late_fill_of_an_order_that_counted_as_rejected_is_a_position() -> None:
    opening = begin_buy(Position(), command_id="buy", dust=_STEP)
    rejected = _apply(opening, _bought("0", "0", status=OrderStatus.REJECTED))
    assert rejected == Position(last_command_id="buy")
    assert _apply(rejected, _bought("2", "200")).state is PositionState.OPEN


def test_a_rejected_order_leaves_what_was_held() -> None:
    closing = begin_sell(_held("3"), command_id="sell", dust=_STEP, all_of_it=Decimal(3))
    after = _apply(closing, _sold("0", status=OrderStatus.REJECTED))
    assert (after.state, after.quantity) == (PositionState.OPEN, 3)


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED])
def test_an_order_under_way_keeps_its_state(status: OrderStatus) -> None:
    opening = begin_buy(Position(), command_id="buy", dust=_STEP)
    moved = _apply(opening, _bought("1", "10", status=status))
    assert moved.state is PositionState.OPENING
    assert moved.quantity == 1


def _reports_of(
    command: str, side: Side, steps: list[Decimal], price: Decimal, end: OrderStatus
) -> list[Report]:
    """An order's life: accepted, filled step by step at rising prices, ended."""
    reports = [Report(command, side, Executed(), OrderStatus.NEW)]
    quantity = quote = Decimal(0)
    for number, step in enumerate(steps):
        quantity, quote = quantity + step, quote + step * (price + number)
        fee = quantity / 1000 if side is Side.BUY else Decimal(0)
        executed = Executed(quantity, quote, fee)
        reports.append(Report(command, side, executed, OrderStatus.PARTIALLY_FILLED))
    return [*reports, Report(command, side, reports[-1].now, end)]


@st.composite
def _rounds(draw: st.DrawFn) -> tuple[list[Report], list[Report]]:
    """A buy and up to three sells of no more than it brought, as reported and shuffled."""
    bought = draw(st.lists(_AMOUNTS, min_size=1, max_size=4))
    total = sum(bought) * Decimal("0.999")
    reports = _reports_of("buy", Side.BUY, bought, Decimal(10), OrderStatus.FILLED)
    sells = draw(st.lists(st.decimals("0.05", "0.33", places=2), max_size=3))
    ends = st.sampled_from([OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED])
    for number, share in enumerate(sells):
        steps = [total * share / 2] * 2
        reports += _reports_of(f"stop{number}", Side.SELL, steps, Decimal(9), draw(ends))
    if draw(st.booleans()):
        left = total - sum(r.now.quantity for r in reports if r.command != "buy" and _ended(r))
        reports += _reports_of("rest", Side.SELL, [left], Decimal(9), OrderStatus.FILLED)
    return reports, draw(st.permutations([*reports, *reports]))


def _ended(report: Report) -> bool:
    return report.status not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


@given(_rounds())
def test_any_order_and_repetition_of_reports_gives_the_same_position(
    reports: tuple[list[Report], list[Report]],
) -> None:
    in_order, shuffled = reports
    levels = Exit(fraction=Decimal("0.02"))
    opening = begin_buy(Position(), command_id="buy", dust=Decimal("1e-7"), stop_loss=levels)
    expected = _apply(opening, *in_order)
    assert _apply(opening, *shuffled) == expected
    sold = any(report.command == "rest" for report in in_order)
    assert expected.state is (PositionState.FLAT if sold else PositionState.OPEN)


@given(bought=_AMOUNTS, share=st.decimals("0.01", "0.99", places=2))
def test_a_partial_sale_keeps_the_average_price(bought: Decimal, share: Decimal) -> None:
    held = _apply(
        begin_buy(Position(), command_id="buy", dust=Decimal(0)),
        Report("buy", Side.BUY, Executed(bought, bought * 7)),
    )
    sold = _apply(held, Report("s", Side.SELL, Executed(bought * share, bought * share * 9)))
    assert sold.cost == pytest.approx(sold.quantity * 7)
