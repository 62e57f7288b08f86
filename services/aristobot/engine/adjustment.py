"""What a MAJ alert leads to: another stop and target for all of the webhooks' position. Pure.

Deliberately not here: cancelling the old ones and placing the new (the gateway's), and whether the
alert may act at all (`decision.judge`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from aristobot.contracts.keys import command_id
from aristobot.contracts.messages import AskedBy, ProtectPosition
from aristobot.core.positions import Exit, Position
from aristobot.engine.decision import Adjustable, Outcome, Verdict, protection_of


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`command` and `position` are None when there is nothing to protect."""

    verdict: Verdict
    command: ProtectPosition | None = None
    position: Position | None = None


def adjust(adjustable: Adjustable, position: Position, webhook_id: str, at: datetime) -> Adjustment:
    """The end of the alert, and the position with its new levels. One that isn't named stays."""
    alert, record = adjustable.alert, adjustable.record
    if position.quantity <= position.dust:
        return Adjustment(
            Verdict(
                Outcome.PROCESSED,
                "no_position",
                f"there is no open position in {adjustable.symbol}: nothing to protect",
                alert,
                adjustable.signal_key,
            )
        )
    moved = replace(
        position,
        stop_loss=Exit(alert.stop_loss_price) if alert.stop_loss_price else position.stop_loss,
        take_profit=(
            Exit(alert.take_profit_price) if alert.take_profit_price else position.take_profit
        ),
    )
    command = ProtectPosition(
        command_id=command_id(webhook_id),
        owner=record.owner,
        broker=record.broker,
        symbol=adjustable.symbol,
        protection=protection_of(moved, position.quantity),
        asked_by=AskedBy.WEBHOOK,
        caused_at=at,
    )
    verdict = Verdict(
        Outcome.PROCESSED,
        "replaced",
        "stop and target of the position are replaced",
        alert,
        adjustable.signal_key,
    )
    return Adjustment(verdict, command, moved)
