"""Whatever the exchange does to an answer, a clock or a stream: one order, and its true end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fault.scene import NOT_FOUND, Scene, fresh
from tests.harness.platform import eventually

#: The fault, and how often the order is sent.
ORDER_FAULTS: dict[str, tuple[dict[str, Any], int]] = {
    "answer lost after acceptance": ({"kind": "answer_lost"}, 1),
    "503 after acceptance": ({"kind": "error_5xx", "accepted": True, "status": 503}, 1),
    "500 after acceptance": ({"kind": "error_5xx", "accepted": True, "status": 500}, 1),
    "503, not accepted": ({"kind": "error_5xx", "status": 503}, 2),
    "502 twice, not accepted": ({"kind": "error_5xx", "status": 502, "times": 2}, 3),
    "slow answer": ({"kind": "slow_answer", "seconds": 2}, 1),
    "answer after our patience": ({"kind": "slow_answer", "seconds": 11}, 1),
    "429 with Retry-After": ({"kind": "rate_limit", "seconds": 2}, 2),
    "418 with Retry-After": ({"kind": "ban", "seconds": 2}, 2),
    "held up within the window": ({"kind": "delay", "seconds": 1}, 1),
    "held up beyond the window": ({"kind": "delay", "seconds": 4}, 2),
    "partial fill, the rest later": ({"kind": "partial_fill", "seconds": 1}, 1),
    "late fill": ({"kind": "late_fill", "seconds": 2}, 1),
}


#: These take more than ten seconds each.
_SLOW = {"502 twice, not accepted", "answer after our patience"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[pytest.mark.chaos] if c in _SLOW else []) for c in ORDER_FAULTS],
)
def test_one_order_whatever_happens_to_its_answer(scene: Scene, case: str) -> None:
    fault, attempts = ORDER_FAULTS[case]
    scene.platform.fault(**fault, api_key=scene.account.api_key)
    alert = fresh(case)
    order = scene.assert_filled_once(alert, scene.send(alert))
    assert order["attempt"] == attempts


def test_request_under_way_is_not_overtaken(scene: Scene) -> None:
    """The answer is lost while the request is still under way, and arrives within its window.

    Whoever sends again on the first "no such order" places two.
    """
    key = scene.account.api_key
    scene.platform.fault(kind="delay", seconds=2.5, api_key=key)
    armed = scene.arm(scene.gateway, "request-written", "break")
    alert = fresh("under way")
    answer = scene.send(alert)
    scene.wait_struck(armed)
    order = scene.assert_filled_once(alert, answer)
    assert order["attempt"] == 1
    journal = scene.ledger.journal(order["command_id"])
    assert any(NOT_FOUND in (row["answer"] or "") for row in journal), "it was never in doubt"


def test_look_ups_are_in_the_journal(scene: Scene) -> None:
    scene.platform.fault(kind="answer_lost", api_key=scene.account.api_key)
    alert = fresh("journal")
    order = scene.assert_filled_once(alert, scene.send(alert))
    rows = scene.ledger.journal(order["command_id"])
    assert [row["purpose"] for row in rows][:2] == ["place", "look-up"]
    assert rows[0]["failure"]
    assert rows[0]["status"] is None
    assert rows[1]["status"] == 200
    assert {row["asked_by"] for row in rows} == {"webhook"}


@pytest.mark.parametrize("seconds", [-30, 30])
def test_clock_of_the_exchange_jumps(scene: Scene, seconds: int) -> None:
    """The first request is refused by its timestamp, the clock is measured, the second counts."""
    scene.platform.fault(kind="clock_skew", seconds=seconds)
    try:
        alert = fresh(f"skew {seconds}")
        answer = scene.send(alert)
        order = scene.ended(alert)
        placed = [o for o in scene.account.orders() if o["client_id"] == order["client_order_id"]]
        assert [o["status"] for o in placed] == ["filled"]
        assert order["status"] == "filled"
        assert order["attempt"] == 2
        assert answer["id"] == scene.ledger.webhooks(alert.name)[0]["id"]
        scene.assert_no_stray_orders()
        scene.assert_positions()
    finally:
        scene.clear_faults()
    # And back again: the next order must not trip over the jump either.
    back = fresh("skew ends")
    answer = scene.send(back)
    assert scene.ended(back)["status"] == "filled"
    scene.assert_no_stray_orders()
    scene.assert_positions()


@pytest.mark.parametrize("fill", ["partial_fill", "late_fill"])
def test_stream_is_mute_while_an_order_fills(scene: Scene, fill: str) -> None:
    """Nobody tells of the fills; they are asked for."""
    key = scene.account.api_key
    scene.platform.fault(kind="mute_stream", seconds=6, api_key=key)
    scene.platform.fault(kind=fill, seconds=1, api_key=key)
    alert = fresh(fill)
    scene.assert_filled_once(alert, scene.send(alert))


def test_stream_drops_between_two_fills(scene: Scene) -> None:
    """Nobody tells of the first fill; it has to be in the position all the same.

    The event of the second fill says that the order is filled, and brings one fill of two. The
    look-up that would know better hangs until then.
    """
    key = scene.account.api_key
    scene.platform.fault(kind="mute_stream", seconds=60, api_key=key)
    scene.platform.fault(kind="partial_fill", seconds=2.5, fraction=0.5, api_key=key)
    scene.platform.fault(kind="answer_lost", api_key=key)
    scene.platform.fault(kind="slow_answer", seconds=4, path="GET /api/v3/order", api_key=key)
    before = len(scene.account.orders())
    alert = fresh("two fills")
    answer = scene.send(alert)
    eventually(lambda: len(scene.account.orders()) > before, what="the order")
    scene.platform.fault(kind="drop_socket", api_key=key)
    scene.unmute()
    order = scene.assert_filled_once(alert, answer)
    fills = scene.ledger.rows(
        "SELECT count(*) AS n, sum(quantity) AS quantity FROM fills WHERE client_order_id = $1",
        order["client_order_id"],
    )
    assert fills[0]["quantity"] == order["executed_quantity"]
    assert fills[0]["n"] >= 2


def test_dropped_sockets(scene: Scene) -> None:
    for number in range(3):
        scene.platform.fault(kind="drop_socket", api_key=scene.account.api_key)
        alert = fresh(f"drop {number}")
        scene.assert_filled_once(alert, scene.send(alert))
