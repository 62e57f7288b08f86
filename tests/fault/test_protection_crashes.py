"""A gateway that is killed anywhere leaves each position with exactly one stop and one target.

Each case buys with a stop and a target, sells half, and sells the rest; the strike falls into one
of these steps, also if the sale is too old by the time that it is looked at again. The simulator's
own list of orders is what counts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from aristobot.platform.lifecycle import EXIT_FENCED
from tests.fault.conftest import broker_document
from tests.fault.ledger import Row, Signal
from tests.fault.scene import Scene, fresh, second_gateway
from tests.harness.platform import eventually

#: Less than the exchange takes in one order, once for each case.
DUST = Decimal("0.0002")
STOP, TARGET = "50000", "200000"
_SLOW = pytest.mark.chaos
#: Between the entry's fill and the acknowledged protection.
ENTRY_POINTS = {
    "plan-within": "in the transaction that records the fill and plans",
    "let-go-before": "planned, nothing is sent",
    "let-go-after": "the intents are committed, nothing is sent",
    "pair-sent": "the exchange has accepted both, the answer is not read",
    "pair-answer-read": "the answer is read and nothing of it recorded",
    "leg-before": "before the stop is recorded",
    "leg-after": "the stop is recorded, its target not yet",
}
#: Between a sale's arrival and the protection of what it leaves.
SALE_POINTS = {
    "cancel-before": "nothing is cancelled yet",
    "cancel-after": "both are cancelled, nothing of it recorded",
    "intent-before": "both are cancelled, the sale is not written",
    "intent-after": "the sale is written and not sent",
    "order-sent": "the exchange has sold, the answer is not read",
    "plan-within": "in the transaction that records the sale and plans",
    "let-go-before": "what is left is not protected yet",
    "pair-sent": "the exchange has accepted both, the answer is not read",
}
_QUICK_ENTRY = {"let-go-before", "pair-sent", "leg-after"}
_QUICK_SALE = {"cancel-after", "let-go-before"}


def _marked(points: dict[str, str], quick: set[str]) -> list[object]:
    return [pytest.param(point, marks=() if point in quick else _SLOW) for point in points]


class Guarded(Scene):
    """A broker that sells all it holds again and again, and keeps each time's dust.

    Its protection is on its way while an order is looked at, so what holds in the end is awaited.
    """

    def assert_no_stray_orders(self) -> None:
        def look() -> bool:
            ours = self.ledger.rows(
                "SELECT client_order_id FROM orders "
                "WHERE broker = $1 AND exchange_order_id IS NOT NULL",
                self.broker,
            )
            theirs = [order["client_id"] for order in self.account.orders()]
            return sorted(row["client_order_id"] for row in ours) == sorted(theirs)

        eventually(look, seconds=30, what="one order at the exchange for each row")

    def assert_positions(self) -> None:
        def look() -> bool:
            known = self.ledger.positions(self.broker).get("BTCUSDT", Decimal(0))
            return 0 <= held(self) - known < DUST and self.ledger.outbox() == 0

        eventually(look, seconds=20, what="a position equal to the balance, and an empty outbox,")


def held(scene: Scene) -> Decimal:
    return scene.account.holdings().get("BTCUSDT", Decimal(0))


def _guarded(demo: Scene, name: str, age: int) -> Scene:
    demo.platform.apply(broker_document(name, age=age))
    eventually(lambda: f"gateway-demo.{name}" in demo.platform.pids(), seconds=30, what="gateway")
    return Guarded(demo.platform, demo.crash_points, name)


@pytest.fixture(scope="module")
def guarded_broker(demo: Scene) -> Scene:
    return _guarded(demo, "guarded", 0)


@pytest.fixture(scope="module")
def hurried_broker(demo: Scene) -> Scene:
    """Its alerts are worth acting on for three seconds only."""
    return _guarded(demo, "hurried", 3)


@pytest.fixture
def guarded(guarded_broker: Scene) -> Iterator[Scene]:
    yield from _unarmed(guarded_broker)


@pytest.fixture
def hurried(hurried_broker: Scene) -> Iterator[Scene]:
    yield from _unarmed(hurried_broker)


def _unarmed(scene: Scene) -> Iterator[Scene]:
    yield scene
    for armed in scene.crash_points.iterdir():
        armed.unlink()
    scene.let_go_on()


def open_at_exchange(scene: Scene) -> list[Row]:
    return [o for o in scene.account.orders() if o["status"] in ("new", "partially_filled")]


def assert_one_pair(scene: Scene) -> None:
    """One stop and one target are open for all that is held, and the rows say the same."""

    def look() -> bool:
        found = open_at_exchange(scene)
        ours = scene.ledger.rows(
            "SELECT * FROM orders WHERE broker = $1 AND status = 'new'", scene.broker
        )
        return (
            len(found) == len(ours) == 2
            and {o["client_id"] for o in found} == {row["client_order_id"] for row in ours}
            and {row["type"] for row in ours} == {"stop_loss", "limit_maker"}
            and {row["stop_price"] or row["price"] for row in ours}
            == {Decimal(STOP), Decimal(TARGET)}
            and all(0 <= held(scene) - Decimal(o["quantity"]) < DUST for o in found)
        )

    eventually(look, seconds=40, what="one stop and one target for all that is held")
    scene.assert_no_stray_orders()
    scene.assert_positions()


def buy(scene: Scene, name: str) -> None:
    alert = fresh(name, percent="5", stop=STOP, target=TARGET)
    scene.assert_filled_once(alert, scene.send(alert))


def sell(scene: Scene, name: str, percent: str) -> None:
    alert = fresh(name, action="SellMarket", percent=percent)
    scene.assert_filled_once(alert, scene.send(alert))


def sell_all(scene: Scene) -> None:
    sell(scene, "all", "100")
    eventually(lambda: not open_at_exchange(scene), what="no order being left open")
    assert held(scene) < DUST
    scene.assert_no_stray_orders()


@pytest.mark.parametrize("point", _marked(ENTRY_POINTS, _QUICK_ENTRY))
def test_crash_before_the_protection_is_there(guarded: Scene, point: str) -> None:
    armed = guarded.arm(guarded.gateway, point)
    buy(guarded, point)
    guarded.wait_struck(armed)
    assert_one_pair(guarded)
    sell_all(guarded)


@pytest.mark.parametrize("point", _marked(SALE_POINTS, _QUICK_SALE))
def test_crash_while_half_is_sold(guarded: Scene, point: str) -> None:
    buy(guarded, point)
    assert_one_pair(guarded)
    armed = guarded.arm(guarded.gateway, point)
    sell(guarded, point, "50")
    guarded.wait_struck(armed)
    assert_one_pair(guarded)
    sell_all(guarded)


def stopped_in_a_sale(scene: Scene, point: str) -> tuple[Signal, int]:
    """The gateway is stopped there, until the sale is too old; the sale, and the gateway's pid."""
    armed = scene.arm(scene.gateway, point, "stop")
    gateway = scene.pid(scene.gateway)
    alert = fresh(point, action="SellMarket", percent="50")
    scene.send(alert)
    scene.wait_struck(armed)
    eventually(
        lambda: scene.ledger.rows(
            "SELECT 1 FROM webhooks WHERE id = $1 AND now() > received_at + interval '4 s'",
            scene.ledger.webhooks(alert.name)[0]["id"],
        ),
        what="the end of the sale's time",
    )
    return alert, gateway


def assert_expired(scene: Scene, alert: Signal) -> None:
    order = scene.ended(alert)
    assert (order["status"], order["code"]) == ("rejected", "expired")
    scene.assert_nothing_placed(order)


def test_cancelled_for_a_sale_that_is_too_old_after_the_crash(hurried: Scene) -> None:
    buy(hurried, "late")
    assert_one_pair(hurried)
    alert, gateway = stopped_in_a_sale(hurried, "cancel-after")
    assert open_at_exchange(hurried) == []
    os.kill(gateway, signal.SIGKILL)
    assert_expired(hurried, alert)
    assert_one_pair(hurried)
    sell_all(hurried)


def test_cancelled_by_a_held_up_gateway_after_its_successor_has_refused_the_sale(
    hurried: Scene, tmp_path: Path
) -> None:
    buy(hurried, "overtaken")
    assert_one_pair(hurried)
    alert, gateway = stopped_in_a_sale(hurried, "cancel-before")
    before = {order["client_id"] for order in open_at_exchange(hurried)}
    with second_gateway(hurried, gateway, tmp_path / "second.log") as second:
        assert_expired(hurried, alert)
        assert {order["client_id"] for order in open_at_exchange(hurried)} == before
        os.kill(gateway, signal.SIGCONT)
        eventually(
            lambda: before.isdisjoint(o["client_id"] for o in open_at_exchange(hurried)),
            what="the late cancellation",
        )
        assert_one_pair(hurried)
        # Started anew, the first takes the lease from the second.
        assert second.wait(timeout=30) == EXIT_FENCED
    assert_one_pair(hurried)
