"""A strategy's decision becomes exactly one order, wherever the engine dies, whoever repeats it.

As `test_crash_points` for webhooks: the engine is killed with SIGKILL at the point itself. Here
decisions are published in the runner's place; the strategy itself never decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aristobot.contracts.messages import Decision
from aristobot.core.orders import Side
from tests.fault.ledger import Account, Ledger, Row, differences
from tests.fault.scene import Scene
from tests.harness.decider import Decider
from tests.harness.platform import Platform, eventually


@dataclass
class Desk(Decider):
    """What became of the decisions: here, and at the exchange."""

    ledger: Ledger = field(init=False)
    account: Account = field(init=False)

    def look(self) -> None:
        """Once the broker is there."""
        self.ledger = Ledger.of(self.platform)
        self.account = Account.of(self.platform, self.broker)

    def row(self, decision: Decision) -> Row:
        query = "SELECT * FROM decisions WHERE id = $1"
        (row,) = eventually(
            lambda: self.ledger.rows(query, decision.decision_id),
            seconds=30,
            what="the decision being recorded",
        )
        return row

    def filled(self, decision: Decision) -> Row:
        """The decision's order, filled; it must be the only one, and the same at the exchange."""
        command_id = self.row(decision)["command_id"]
        assert command_id is not None, self.row(decision)["reason"]

        def look() -> Row | None:
            order = self.ledger.order(command_id)
            return order if order is not None and order["status"] == "filled" else None

        order = eventually(look, seconds=45, what="the fill")
        placed = [o for o in self.account.orders() if o["client_id"] == order["client_order_id"]]
        assert len(placed) == 1, f"{len(placed)} orders at the exchange"
        assert differences(order, placed[0]) == []
        of_it = self.ledger.rows(
            "SELECT command_id FROM orders WHERE source_id = $1 AND protects IS NULL",
            decision.decision_id,
        )
        assert len(of_it) == 1
        return order

    def resting(self) -> list[Row]:
        return [o for o in self.account.orders() if o["status"] in ("new", "partially_filled")]


@pytest.fixture(scope="module")
def active(breakable: Platform) -> Desk:
    desk = Desk(breakable, "strategic", "never-btc")
    desk.apply()
    desk.look()
    return desk


@pytest.fixture
def desk(active: Desk, scene: Scene) -> Iterator[Desk]:  # scene: no strike is left over
    yield active
    breakable = active.platform
    if (position := active.position()) is not None and position["quantity"]:
        breakable.run("strategy", "sell", "never-btc", check=False)


#: Where the engine dies on the way in, and where on the way out: see `test_crash_points`.
_PAIRS = [
    ("commit-before", "commit-within"),
    ("commit-after", "publish-before"),
    ("publish-after", "ack-before"),
    ("ack-after", "commit-after"),
]


@pytest.mark.parametrize(
    ("entering", "leaving"),
    [*_PAIRS, *(pytest.param(*pair[::-1], marks=pytest.mark.chaos) for pair in _PAIRS)],
)
def test_engine_crash_leads_to_one_order_of_a_decision(
    scene: Scene, desk: Desk, entering: str, leaving: str
) -> None:
    """On the way in and on the way out; in between, stop and target are at the exchange."""
    armed = scene.arm("engine", entering)
    bought = desk.filled(desk.decide(Side.BUY))
    scene.wait_struck(armed)
    opened = desk.held("open")
    assert opened["quantity"] == bought["executed_quantity"] * Decimal("0.999")
    eventually(lambda: len(desk.resting()) == 2, what="stop and target")

    armed = scene.arm("engine", leaving)
    sold = desk.filled(desk.decide(Side.SELL))
    scene.wait_struck(armed)
    closed = desk.held("flat")
    assert closed["quantity"] == 0
    assert 0 <= opened["quantity"] - sold["executed_quantity"] < Decimal("0.00001")
    eventually(lambda: not desk.resting(), what="nothing resting at the exchange")
    eventually(lambda: desk.ledger.outbox() == 0, what="an empty outbox")


def test_two_runners_decisions_are_one_order(desk: Desk) -> None:
    """The stream can't know the copies apart: each has a message id of its own."""
    close = datetime.now(UTC).isoformat()
    decision = desk.decide(Side.BUY, f"first {close}", f"second {close}", f"third {close}")
    desk.filled(decision)
    desk.held("open")
    before = len(desk.account.orders())
    desk.filled(desk.decide(Side.SELL, f"fourth {close}", f"fifth {close}"))
    desk.held("flat")
    assert len(desk.account.orders()) == before + 1


#: Between the engine's record of the wish and the exchange's word that both orders are over.
_CANCELLING = {
    ("engine", "commit-within"): "in the transaction that gives the levels up",
    ("gateway", "give-up-after"): "nothing follows any more, and nothing is cancelled",
    ("gateway", "cancel-before"): "the same, and the span is open",
    ("gateway", "cancel-after"): "the exchange has cancelled both, nothing of it is recorded",
    ("gateway", "ack-before"): "all is done, and the command comes again",
}
_QUICK = {("gateway", "give-up-after"), ("gateway", "cancel-after")}


@pytest.mark.parametrize(
    ("part", "point"),
    [pytest.param(*at, marks=() if at in _QUICK else pytest.mark.chaos) for at in _CANCELLING],
)
def test_a_crash_while_orders_are_cancelled_leaves_the_coins_and_no_order(
    scene: Scene, desk: Desk, part: str, point: str
) -> None:
    desk.filled(desk.decide(Side.BUY))
    opened = desk.held("open")
    eventually(lambda: len(desk.resting()) == 2, what="stop and target")
    placed = len(desk.account.orders())
    armed = scene.arm("engine" if part == "engine" else f"gateway-demo.{desk.broker}", point)
    desk.platform.run("strategy", "cancel-orders", desk.name, "--yes")
    scene.wait_struck(armed)

    def is_over() -> bool:
        unfinished = desk.ledger.rows(
            "SELECT 1 FROM orders WHERE broker = $1 AND status IN "
            "('sending', 'unknown', 'new', 'partially_filled')",
            desk.broker,
        )
        return not unfinished and not desk.resting() and desk.ledger.outbox() == 0

    eventually(is_over, seconds=30, what="the end of every order")
    after = desk.held("open")
    assert after["quantity"] == opened["quantity"]
    assert after["stop_loss_price"] is after["take_profit_price"] is None
    assert len(desk.account.orders()) == placed
