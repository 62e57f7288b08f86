"""Reports repeat and overtake each other; what is known of an order only ever moves forward."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.orders import OrderStatus, OrderType, is_final, is_progress, is_settled

LIFE = [
    (OrderStatus.SENDING, Decimal(0)),
    (OrderStatus.NEW, Decimal(0)),
    (OrderStatus.PARTIALLY_FILLED, Decimal("0.4")),
    (OrderStatus.PARTIALLY_FILLED, Decimal("0.7")),
    (OrderStatus.FILLED, Decimal(1)),
]


def _apply(reports: list[tuple[OrderStatus, Decimal]]) -> tuple[OrderStatus, Decimal]:
    known = reports[0]
    for report in reports[1:]:
        if is_progress(*known, *report):
            known = report
    return known


@pytest.mark.parametrize("order", list(permutations(LIFE[1:])))
def test_any_order_of_reports_ends_in_the_last_state(
    order: tuple[tuple[OrderStatus, Decimal], ...],
) -> None:
    assert _apply([LIFE[0], *order]) == LIFE[-1]


@pytest.mark.parametrize(
    "status", [s for s in OrderStatus if is_final(s) and s is not OrderStatus.REJECTED]
)
@given(after=st.sampled_from(OrderStatus), executed=st.decimals(0, 10, places=3))
def test_nothing_changes_an_order_that_has_ended(
    status: OrderStatus, after: OrderStatus, executed: Decimal
) -> None:
    assert not is_progress(status, Decimal(1), after, executed)


def test_the_exchange_has_the_last_word_on_a_rejected_order() -> None:
    rejected = OrderStatus.REJECTED
    assert is_progress(rejected, Decimal(0), OrderStatus.FILLED, Decimal(1))
    assert not is_progress(rejected, Decimal(0), rejected, Decimal(0))


def test_an_unknown_order_takes_any_word_of_the_exchange() -> None:
    for status in (OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.CANCELLED):
        assert is_progress(OrderStatus.UNKNOWN, Decimal(0), status, Decimal(0))


@pytest.mark.parametrize(
    ("order_type", "status", "settled"),
    [
        (OrderType.MARKET, OrderStatus.SENDING, False),
        (OrderType.MARKET, OrderStatus.UNKNOWN, False),
        (OrderType.MARKET, OrderStatus.NEW, False),
        (OrderType.MARKET, OrderStatus.PARTIALLY_FILLED, False),
        (OrderType.MARKET, OrderStatus.FILLED, True),
        (OrderType.MARKET, OrderStatus.REJECTED, True),
        (OrderType.LIMIT, OrderStatus.UNKNOWN, False),
        (OrderType.LIMIT, OrderStatus.NEW, True),
        (OrderType.LIMIT, OrderStatus.PARTIALLY_FILLED, True),
        (OrderType.LIMIT, OrderStatus.CANCELLED, True),
    ],
)
def test_when_the_next_order_may_be_sized(
    order_type: OrderType, status: OrderStatus, settled: bool
) -> None:
    assert is_settled(order_type, status) is settled
