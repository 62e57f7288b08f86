"""MAJ: another stop and target for all of the position, or a word that there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aristobot.contracts.keys import command_id
from aristobot.contracts.messages import WEBHOOK_HOLDER
from aristobot.core.positions import Exit, Position, PositionState
from aristobot.engine.adjustment import adjust
from aristobot.engine.decision import Adjustable, Outcome, judge
from tests.unit.engine.test_decision import _alert, _record

NOW = datetime(2025, 11, 20, 12, tzinfo=UTC)
HELD = Position(
    state=PositionState.OPEN,
    bought=Decimal(2),
    spent=Decimal(200),
    dust=Decimal("0.001"),
    stop_loss=Exit(Decimal(90)),
    take_profit=Exit(Decimal(120)),
)


def _adjustable(**fields: str) -> Adjustable:
    judged = judge(_alert("MAJ", percent=None, **fields), _record())
    assert isinstance(judged, Adjustable)
    return judged


@pytest.mark.parametrize(
    ("fields", "stop", "target"),
    [
        ({"stop_loss_price": "95", "take_profit_price": "130"}, 95, 130),
        ({"stop_loss_price": "95"}, 95, 120),
        ({"take_profit_price": "130"}, 90, 130),
    ],
)
def test_levels_are_replaced_for_all_that_is_held(
    fields: dict[str, str], stop: int, target: int
) -> None:
    done = adjust(_adjustable(**fields), HELD, "w1", NOW)
    assert (done.verdict.outcome, done.verdict.code) == (Outcome.PROCESSED, "replaced")
    assert done.command is not None
    assert done.position is not None
    assert (done.position.stop_loss.price, done.position.take_profit.price) == (stop, target)
    protection = done.command.protection
    assert protection.stop_loss is not None
    assert protection.take_profit is not None
    assert (protection.stop_loss.value, protection.take_profit.value) == (stop, target)
    assert protection.held_quantity == 2
    assert done.command.command_id == command_id("w1")
    assert done.command.holder == WEBHOOK_HOLDER


@pytest.mark.parametrize("held", ["0", "0.0005"])
def test_without_a_position_nothing_is_ordered(held: str) -> None:
    position = Position(bought=Decimal(held), dust=Decimal("0.001"))
    done = adjust(_adjustable(stop_loss_price="95"), position, "w1", NOW)
    assert (done.verdict.outcome, done.verdict.code) == (Outcome.PROCESSED, "no_position")
    assert (done.command, done.position) == (None, None)
