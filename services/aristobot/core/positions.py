"""How a position moves: when an order is decided, and when the exchange reports on it.

A position is one symbol on one broker, long only (spot). The engine stores it; these functions
say what it becomes. Quantities are net of fees that the exchange keeps in the base currency.
Deliberately not here: profit and loss, and putting stop and target orders on the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from aristobot.core.orders import OrderStatus, Side, is_final

_ZERO = Decimal(0)


class PositionState(StrEnum):
    """`opening`, `reducing` and `closing` have an order under way."""

    FLAT = "flat"
    OPENING = "opening"
    OPEN = "open"
    REDUCING = "reducing"
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class Position:
    """`quantity` in base held through our orders; `cost` what it cost in quote."""

    state: PositionState = PositionState.FLAT
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    stop_loss_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    last_command_id: str | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """What of one order is executed so far (cumulative). `base_fee`: kept from a buy's base."""

    quantity: Decimal = _ZERO
    quote: Decimal = _ZERO
    base_fee: Decimal = _ZERO


def begin_order(
    position: Position,
    *,
    side: Side,
    command_id: str,
    sells_all: bool,
    stop_loss_price: Decimal | None,
    take_profit_price: Decimal | None,
) -> Position:
    """The position once an order for it is decided. A buy brings its stop and target along."""
    if side is Side.BUY:
        return replace(
            position,
            state=PositionState.OPENING,
            stop_loss_price=stop_loss_price or position.stop_loss_price,
            take_profit_price=take_profit_price or position.take_profit_price,
            last_command_id=command_id,
        )
    state = PositionState.CLOSING if sells_all else PositionState.REDUCING
    return replace(position, state=state, last_command_id=command_id)


def apply_execution(
    position: Position,
    *,
    command_id: str,
    side: Side,
    status: OrderStatus,
    before: Executed,
    now: Executed,
) -> Position:
    """The position once the exchange reported `now` of an order of which `before` was known.

    An older report than what is known changes nothing, so reports may repeat and overtake.
    """
    if now.quantity < before.quantity:
        now = before
    quantity = now.quantity - before.quantity
    quote = now.quote - before.quote
    fee = now.base_fee - before.base_fee
    if side is Side.BUY:
        moved = replace(
            position, quantity=position.quantity + quantity - fee, cost=position.cost + quote
        )
    else:
        left = max(position.quantity - quantity, _ZERO)
        share = left / position.quantity if position.quantity > 0 else _ZERO
        moved = replace(position, quantity=left, cost=position.cost * share)
    if position.last_command_id != command_id or not is_final(status):
        return moved
    closed_all = position.state is PositionState.CLOSING and status is OrderStatus.FILLED
    if closed_all or moved.quantity <= 0:
        # What a step leaves over after a sale of everything is dust, not a position.
        return Position(last_command_id=command_id)
    return replace(moved, state=PositionState.OPEN)
