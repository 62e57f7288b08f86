"""The budget: reads stop early, orders have the reserve, a ban stops everything."""

from __future__ import annotations

import pytest

from aristobot.core.errors import Retryable
from aristobot.exchanges.binance.limits import Limit, RequestBudget, Use, retry_after_seconds


class Time:
    def __init__(self) -> None:
        self.ms = 600_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_seconds(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def budget(time: Time) -> RequestBudget:
    return RequestBudget(now_ms=time.now_ms, monotonic=time.monotonic, weight_per_minute=1000)


def _answer(
    budget: RequestBudget,
    use: Use = Use.READ,
    *,
    weight: int = 1,
    status: int | None = 200,
    code: int | None = None,
    **headers: str,
) -> None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    budget.settle(budget.admit(weight, use), status=status, headers=named, code=code)


def test_reads_stop_at_the_reserve_and_orders_do_not(time: Time, budget: RequestBudget) -> None:
    time.pass_seconds(20)
    _answer(budget, x_mbx_used_weight_1m="745")
    budget.admit(5, Use.READ)
    with pytest.raises(Retryable) as caught:
        budget.admit(5, Use.READ)
    assert 40 <= caught.value.after_seconds <= 41  # until the minute ends
    budget.admit(4, Use.LOOK_UP)
    budget.admit(1, Use.PLACE)


def test_nothing_goes_beyond_the_whole_limit(budget: RequestBudget) -> None:
    _answer(budget, x_mbx_used_weight_1m="999")
    budget.admit(1, Use.PLACE)
    for use in (Use.PLACE, Use.LOOK_UP):
        with pytest.raises(Retryable):
            budget.admit(1, use)


def test_the_next_minute_is_free_again(time: Time, budget: RequestBudget) -> None:
    _answer(budget, x_mbx_used_weight_1m="1000")
    wait = budget.wait_seconds(20, Use.READ)
    assert wait > 0
    time.pass_seconds(wait)
    assert budget.wait_seconds(20, Use.READ) == 0


def test_weight_in_flight_counts(budget: RequestBudget) -> None:
    for _ in range(7):
        budget.admit(100, Use.READ)
    with pytest.raises(Retryable):
        budget.admit(100, Use.READ)


def test_an_answer_that_never_came_has_cost_its_weight(budget: RequestBudget) -> None:
    for _ in range(7):
        _answer(budget, weight=100, status=None)
    assert budget.wait_seconds(100, Use.READ) > 0


def test_an_older_answer_does_not_lower_the_count(budget: RequestBudget) -> None:
    _answer(budget, x_mbx_used_weight_1m="740")
    _answer(budget, x_mbx_used_weight_1m="300")
    assert budget.wait_seconds(20, Use.READ) > 0


def test_the_count_of_a_past_minute_is_not_taken_over(time: Time, budget: RequestBudget) -> None:
    ticket = budget.admit(1, Use.READ)
    time.pass_seconds(60)
    budget.settle(ticket, status=200, headers={"x-mbx-used-weight-1m": "900"})
    assert budget.wait_seconds(20, Use.READ) == 0


@pytest.mark.parametrize("status", [429, 418])
def test_a_ban_stops_everything_until_retry_after(
    time: Time, budget: RequestBudget, status: int
) -> None:
    _answer(budget, status=status, code=-1003, retry_after="30")
    for use in Use:
        with pytest.raises(Retryable) as caught:
            budget.admit(1, use)
        assert caught.value.after_seconds == pytest.approx(30)
    time.pass_seconds(29)
    assert budget.wait_seconds(1, Use.PLACE) == pytest.approx(1)
    time.pass_seconds(1)
    for use in Use:
        budget.admit(1, use)


def test_a_ban_without_retry_after_has_a_default(budget: RequestBudget) -> None:
    _answer(budget, status=418)
    assert budget.wait_seconds(1, Use.PLACE) == pytest.approx(120)


def test_a_shorter_ban_does_not_end_a_longer_one(budget: RequestBudget) -> None:
    tickets = [budget.admit(1, Use.READ), budget.admit(1, Use.READ)]
    for ticket, seconds in zip(tickets, ("60", "2"), strict=True):
        budget.settle(ticket, status=429, headers={"retry-after": seconds})
    assert budget.wait_seconds(1, Use.READ) == pytest.approx(60)


def test_too_many_orders_stops_only_placing(budget: RequestBudget) -> None:
    _answer(budget, Use.PLACE, status=429, code=-1015, retry_after="7")
    assert budget.wait_seconds(1, Use.PLACE) == pytest.approx(7)
    budget.admit(4, Use.LOOK_UP)
    budget.admit(20, Use.READ)


def test_order_count_holds_placing_back_in_its_window(time: Time, budget: RequestBudget) -> None:
    budget.learn([Limit("ORDERS", 10_000, 3, "x-mbx-order-count-10s")])
    _answer(budget, Use.PLACE, x_mbx_order_count_10s="2")
    in_flight = budget.admit(1, Use.PLACE)
    assert 0 < budget.wait_seconds(1, Use.PLACE) <= 10.2
    budget.admit(4, Use.LOOK_UP)
    budget.settle(in_flight, status=200, headers={"x-mbx-order-count-10s": "3"})
    time.pass_seconds(budget.wait_seconds(1, Use.PLACE))
    assert budget.wait_seconds(1, Use.PLACE) == 0


def test_limits_are_learnt(budget: RequestBudget) -> None:
    budget.learn([Limit("REQUEST_WEIGHT", 60_000, 100, "x-mbx-used-weight-1m")])
    assert budget.wait_seconds(80, Use.READ) > 0
    assert budget.wait_seconds(80, Use.PLACE) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("12", 12.0), ("0", 0.0), ("soon", None), ("-3", None), ("²", None)]
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}) == seconds


def test_a_pair_needs_room_for_two_orders(budget: RequestBudget) -> None:
    budget.learn([Limit("ORDERS", 10_000, 4, "x-mbx-order-count-10s")])
    _answer(budget, Use.PLACE, x_mbx_order_count_10s="1")
    pair = budget.admit(1, Use.PLACE, orders=2)
    budget.admit(1, Use.PLACE)
    with pytest.raises(Retryable):
        budget.admit(1, Use.PLACE)
    budget.settle(pair, status=None, headers={})
    with pytest.raises(Retryable):
        budget.admit(1, Use.PLACE, orders=3)
    budget.admit(1, Use.PLACE, orders=2)
