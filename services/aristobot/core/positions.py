"""How a position moves: when an order is decided, and when the exchange reports on it.

A position is one symbol on one broker, held by the broker's webhooks or by one strategy; long only
(spot). The engine stores it; these functions say what it becomes. Quantities are net of fees that
the exchange keeps in the base currency.

What was bought and sold is kept as totals since the position was last flat, so the reports of its
orders, the orders that protect it among them, may come in any order and any number of times.

Deliberately not here: profit and loss, and putting stop and target orders on the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from aristobot.core.orders import OrderStatus, Side, is_final

_ZERO = Decimal(0)
#: Finer than any price. A level that is a fraction of the entry is kept to this.
_FINEST = Decimal("1e-12")


class PositionState(StrEnum):
    """`opening`, `reducing` and `closing` have an order under way."""

    FLAT = "flat"
    OPENING = "opening"
    OPEN = "open"
    REDUCING = "reducing"
    CLOSING = "closing"


_UNDER_WAY = frozenset({PositionState.OPENING, PositionState.REDUCING, PositionState.CLOSING})


@dataclass(frozen=True, slots=True)
class Exit:
    """Where to leave: a price, or a fraction of the entry's average price until that is known."""

    price: Decimal | None = None
    fraction: Decimal | None = None

    def at_entry(self, average: Decimal, *, above: bool) -> Exit:
        """The same with its price, once the entry's average price is known."""
        if self.fraction is None:
            return self
        share = self.fraction if above else -self.fraction
        return replace(self, price=(average * (1 + share)).quantize(_FINEST))


_NOWHERE = Exit()


@dataclass(frozen=True, slots=True)
class Position:
    """`bought` (base, net of fees) for `spent` (quote), and `sold` (base), since it was flat.

    `dust`: what is less than this can't be sold and is no position.
    """

    state: PositionState = PositionState.FLAT
    bought: Decimal = _ZERO
    spent: Decimal = _ZERO
    sold: Decimal = _ZERO
    dust: Decimal = _ZERO
    stop_loss: Exit = _NOWHERE
    take_profit: Exit = _NOWHERE
    last_command_id: str | None = None

    @property
    def quantity(self) -> Decimal:
        """Base held. A sale that was reported before its purchase counts as nothing held."""
        return max(self.bought - self.sold, _ZERO)

    @property
    def cost(self) -> Decimal:
        """What the quantity cost, in quote, at the average price of what was bought."""
        return self.spent * self.quantity / self.bought if self.bought > 0 else _ZERO

    @property
    def entry_price(self) -> Decimal | None:
        """Quote paid for each base held, fees in base included; None when nothing is held."""
        return self.spent / self.bought if self.quantity > 0 else None

    @property
    def has_order_under_way(self) -> bool:
        return self.state in _UNDER_WAY


@dataclass(frozen=True, slots=True)
class Executed:
    """What of one order is executed so far (cumulative). `base_fee`: kept from a buy's base."""

    quantity: Decimal = _ZERO
    quote: Decimal = _ZERO
    base_fee: Decimal = _ZERO


def begin_buy(
    position: Position,
    *,
    command_id: str,
    dust: Decimal,
    stop_loss: Exit = _NOWHERE,
    take_profit: Exit = _NOWHERE,
) -> Position:
    """The position once a buy is decided. It brings its stop and target, or keeps those there are.

    `dust`: the smallest quantity that the exchange takes, in base.
    """
    return replace(
        position,
        state=PositionState.OPENING,
        # What is held goes on at its average price, and not at that of what is sold already.
        bought=position.quantity,
        spent=position.cost,
        sold=_ZERO,
        dust=dust,
        stop_loss=position.stop_loss if stop_loss == _NOWHERE else stop_loss,
        take_profit=position.take_profit if take_profit == _NOWHERE else take_profit,
        last_command_id=command_id,
    )


def begin_sell(
    position: Position, *, command_id: str, dust: Decimal, all_of_it: Decimal | None = None
) -> Position:
    """The position once a sale is decided.

    `all_of_it`: the quantity to be sold, in base, when that is all there is in the account. What
    the position counts beyond it has left the account in another way, and is no position after it.
    """
    left = max(position.quantity - all_of_it, _ZERO) if all_of_it is not None else _ZERO
    return replace(
        position,
        state=PositionState.REDUCING if all_of_it is None else PositionState.CLOSING,
        dust=dust + left if left >= dust else dust,
        last_command_id=command_id,
    )


def without_levels(position: Position) -> Position:
    """The position once its stop and target are given up; orders under way go on."""
    return replace(position, stop_loss=_NOWHERE, take_profit=_NOWHERE)


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

    The order may be one that the position began or one that protects it. An older report than what
    is known moves nothing.
    """
    if now.quantity < before.quantity:
        now = before
    moved = _bought(position, before, now) if side is Side.BUY else _sold(position, before, now)
    has_ended = position.last_command_id == command_id and is_final(status)
    if position.has_order_under_way and not has_ended:
        return moved
    if moved.quantity == 0 or moved.quantity < moved.dust:
        return Position(last_command_id=position.last_command_id)
    return replace(moved, state=PositionState.OPEN)


def _bought(position: Position, before: Executed, now: Executed) -> Position:
    quantity, fee = now.quantity - before.quantity, now.base_fee - before.base_fee
    moved = replace(
        position,
        bought=position.bought + quantity - fee,
        spent=position.spent + now.quote - before.quote,
    )
    if now.quantity <= 0:
        return moved
    average = now.quote / now.quantity
    return replace(
        moved,
        stop_loss=position.stop_loss.at_entry(average, above=False),
        take_profit=position.take_profit.at_entry(average, above=True),
    )


def _sold(position: Position, before: Executed, now: Executed) -> Position:
    return replace(position, sold=position.sold + now.quantity - before.quantity)
