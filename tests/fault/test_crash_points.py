"""A crash at any point between the webhook and the recorded answer leads to exactly one order.

The part is killed with SIGKILL at the point itself, by a strike from `crashing_part.py`, and
started again by the platform's own supervisor. NATS, PostgreSQL and the simulator are real.
"""

from __future__ import annotations

import pytest

from tests.fault.scene import Scene, fresh

GATEWAY_POINTS = {
    "intent-before": "the intent is not written",
    "intent-after": "the intent is committed, nothing is sent",
    "order-sent": "the exchange has accepted it, the answer is not read",
    "answer-read": "the answer is read and nothing of it recorded",
    "record-before": "just before it is recorded",
    "record-within": "in the transaction that records it",
    "record-after": "it is recorded, the event is not published",
    "publish-before": "just before the event is published",
    "publish-after": "the event is published and still in the outbox",
    "ack-before": "the event is published, the command not acknowledged",
    "ack-after": "the command is acknowledged, perhaps only in the buffer",
}
ENGINE_POINTS = {
    "commit-before": "nothing is written",
    "commit-within": "in the transaction of webhook, position and outbox",
    "commit-after": "committed, the command is not published",
    "publish-before": "just before the command is published",
    "publish-after": "the command is published and still in the outbox",
    "ack-before": "all is done, the webhook is not acknowledged",
    "ack-after": "the webhook is acknowledged, perhaps only in the buffer",
}


@pytest.mark.parametrize("point", GATEWAY_POINTS)
def test_gateway_crash_leads_to_one_order(scene: Scene, point: str) -> None:
    armed = scene.arm(scene.gateway, point)
    signal = fresh(point)
    answer = scene.send(signal)
    scene.wait_struck(armed)
    order = scene.assert_filled_once(signal, answer)
    assert order["attempt"] == (2 if point == "intent-after" else 1)


@pytest.mark.parametrize("point", ENGINE_POINTS)
def test_engine_crash_leads_to_one_order(scene: Scene, point: str) -> None:
    armed = scene.arm("engine", point)
    signal = fresh(point)
    answer = scene.send(signal)
    scene.wait_struck(armed)
    order = scene.assert_filled_once(signal, answer)
    assert order["attempt"] == 1


@pytest.mark.parametrize("point", ["publish-before", "publish-after"])
def test_ingress_crash_leads_to_one_order(scene: Scene, point: str) -> None:
    """The sender got no answer and sends again, whether or not the first copy was stored."""
    armed = scene.arm("ingress", point)
    signal = fresh(point)
    answer = scene.send(signal)
    assert not armed.exists()
    assert answer["duplicate"] is (point == "publish-after")
    scene.assert_filled_once(signal, answer)


@pytest.mark.parametrize("second", ["look-up-before", "look-up-after", "renew-before"])
def test_crash_while_the_outcome_is_looked_up(scene: Scene, second: str) -> None:
    first = scene.arm(scene.gateway, "order-sent" if second != "renew-before" else "intent-after")
    again = scene.arm(scene.gateway, second)
    signal = fresh(second)
    answer = scene.send(signal)
    scene.wait_struck(first)
    scene.wait_struck(again)
    scene.assert_filled_once(signal, answer)


def test_crash_after_the_decision_to_send_again(scene: Scene) -> None:
    """The second intent is committed and not sent: its window has to pass as well."""
    scene.arm(scene.gateway, "intent-after")
    again = scene.arm(scene.gateway, "renew-after")
    signal = fresh("renew-after")
    answer = scene.send(signal)
    scene.wait_struck(again)
    order = scene.assert_filled_once(signal, answer)
    assert order["attempt"] == 3


def test_crash_between_refusal_and_its_record(scene: Scene) -> None:
    """The exchange said no and we forgot: asked again, it still has one order at most."""
    armed = scene.arm(scene.gateway, "end-before")
    scene.platform.fault(kind="error_5xx", accepted=True)
    signal = fresh("end-before")
    answer = scene.send(signal)
    scene.wait_struck(armed)
    order = scene.assert_filled_once(signal, answer)
    assert order["attempt"] == 1


def test_sale_after_a_crash_is_sized_from_what_was_bought(scene: Scene) -> None:
    """The next alert waits until the order before it is known, so it sells what there is."""
    scene.arm(scene.gateway, "order-sent")
    buy = fresh("buy", symbol="ETHUSDT", percent="5")
    sale = fresh("sale", symbol="ETHUSDT", percent="100", action="SellMarket")
    bought, sold = scene.send(buy), scene.send(sale)
    buy_order = scene.assert_filled_once(buy, bought)
    sale_order = scene.assert_filled_once(sale, sold)
    step = 1 / 10_000
    left = float(buy_order["executed_quantity"]) * 0.999 - float(sale_order["executed_quantity"])
    assert 0 <= left <= step
