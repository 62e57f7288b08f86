"""Two gateways for one broker: the one that was replaced sends nothing that counts, and ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from aristobot.platform.lifecycle import EXIT_FENCED
from tests.fault.conftest import broker_document
from tests.fault.scene import Scene, fresh, second_gateway
from tests.harness.platform import eventually

_ENDED = f"exit code {EXIT_FENCED}"


@pytest.mark.parametrize(
    "point",
    [
        "lease-checked",  # in a transaction, with the lease's row locked
        pytest.param("intent-after", marks=pytest.mark.chaos),
        pytest.param("answer-read", marks=pytest.mark.chaos),
        # in a transaction, with the order's row locked
        pytest.param("record-within", marks=pytest.mark.chaos),
        pytest.param("look-up-after", marks=pytest.mark.chaos),
        "end-before",
    ],
)
def test_held_up_gateway_is_fenced(scene: Scene, tmp_path: Path, point: str) -> None:
    """The first is stopped in the middle, the second finishes, the first goes on too late."""
    if point in ("look-up-after", "end-before"):
        # Then an UNKNOWN outcome comes first: the answer of an order that was not accepted is lost.
        scene.platform.fault(kind="error_5xx", accepted=False, api_key=scene.account.api_key)
    armed = scene.arm(scene.gateway, point, "stop")
    first = scene.pid(scene.gateway)
    alert = fresh(point)
    answer = scene.send(alert)
    scene.wait_struck(armed)
    with second_gateway(scene, first, tmp_path / "second.log") as second:
        scene.assert_filled_once(alert, answer)
        os.kill(first, signal.SIGCONT)

        def first_ended() -> bool:
            row = next(
                row
                for row in scene.platform.json("status", "--json")
                if row["part"] == scene.gateway
            )
            return bool(row["pid"] != first and row["last_exit"] == _ENDED)

        eventually(first_ended, seconds=20, what="the end of the fenced gateway")
        # The supervisor starts the first anew, which takes the lease: now the second is replaced.
        assert second.wait(timeout=30) == EXIT_FENCED
    scene.assert_filled_once(alert, answer)


def test_stopped_for_longer_than_the_window_then_alone(scene: Scene) -> None:
    """No second gateway: the late request is refused by the exchange and sent once more."""
    armed = scene.arm(scene.gateway, "intent-after", "stop")
    pid = scene.pid(scene.gateway)
    alert = fresh("late")
    answer = scene.send(alert)
    scene.wait_struck(armed)
    created = eventually(lambda: scene.ledger.webhooks(alert.name), what="the webhook's row")
    eventually(
        lambda: scene.ledger.rows(
            "SELECT 1 FROM orders WHERE command_id = $1 AND now() > created_at + interval '4 s'",
            created[0]["command_id"],
        ),
        what="the end of the window",
    )
    os.kill(pid, signal.SIGCONT)
    order = scene.assert_filled_once(alert, answer)
    assert order["attempt"] == 2
    journal = scene.ledger.journal(order["command_id"])
    refused = next(row for row in journal if row["purpose"] == "place")
    assert '"code":-1021' in refused["answer"]


@pytest.fixture(scope="module")
def hasty(demo: Scene) -> Scene:
    """A broker whose alerts are worth acting on for three seconds only."""
    demo.platform.apply(broker_document("hasty", age=3))
    eventually(lambda: "gateway-demo.hasty" in demo.platform.pids(), seconds=30, what="its gateway")
    return Scene(demo.platform, demo.crash_points, "hasty")


@pytest.mark.parametrize("point", ["intent-before", "intent-after"])
def test_stale_attempt_is_never_sent(hasty: Scene, point: str) -> None:
    """A crash before sending, and by the time that the absence is proven the alert is too old."""
    armed = hasty.arm(hasty.gateway, point, "stop")
    pid = hasty.pid(hasty.gateway)
    alert = fresh(point)
    hasty.send(alert)
    hasty.wait_struck(armed)
    (webhook,) = eventually(lambda: hasty.ledger.webhooks(alert.name), what="the webhook's row")
    assert webhook["outcome"] == "ordered"
    eventually(
        lambda: hasty.ledger.rows(
            "SELECT 1 FROM webhooks WHERE id = $1 AND now() > received_at + interval '4 s'",
            webhook["id"],
        ),
        what="the end of the alert's time",
    )
    os.kill(pid, signal.SIGKILL)
    order = hasty.ended(alert)
    assert (order["status"], order["code"]) == ("rejected", "expired")
    hasty.assert_nothing_placed(order)
    hasty.assert_no_stray_orders()
    hasty.assert_positions()
