"""What an order is and the states it can be in; shared by engine, gateway, simulator's clients.

The states are the unified ones of the exchange reference (1.2) plus two of our own that exist
only on our side of the wire: SENDING (the intent is written, no answer yet) and UNKNOWN (the
answer was lost). An UNKNOWN order is not a rejected one: only the exchange's word ends it.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """`STOP_LOSS` and `TAKE_PROFIT` wait for their stop price and then execute as market orders.

    `LIMIT_MAKER` is a limit order that is refused if it would match at once.
    """

    MARKET = "market"
    LIMIT = "limit"
    LIMIT_MAKER = "limit_maker"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"


class OrderStatus(StrEnum):
    """`SENDING` and `UNKNOWN` are ours; the rest is what an exchange reports."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


_OUTCOME_OPEN = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})
_FINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED}
)


def is_outcome_known(status: OrderStatus) -> bool:
    """Whether the exchange's word (accepted or rejected) has been heard."""
    return status not in _OUTCOME_OPEN


def is_final(status: OrderStatus) -> bool:
    """Whether nothing can happen to the order any more."""
    return status in _FINAL


_PROGRESS = {
    OrderStatus.SENDING: 0,
    OrderStatus.UNKNOWN: 0,
    OrderStatus.NEW: 1,
    OrderStatus.PARTIALLY_FILLED: 2,
}
_ENDED = 3


def is_progress(
    known: OrderStatus, known_executed: Decimal, reported: OrderStatus, executed: Decimal
) -> bool:
    """Whether a report is newer than what is known. Reports repeat and overtake each other.

    Amounts are cumulative base quantities. Nothing changes an order that has ended, but for one
    thing: an order that counts as rejected and is at the exchange after all. Its word counts.
    """
    if known is OrderStatus.REJECTED:
        return reported is not OrderStatus.REJECTED
    if is_final(known) or executed < known_executed:
        return False
    return _PROGRESS.get(reported, _ENDED) >= _PROGRESS[known]


def is_settled(order_type: OrderType, status: OrderStatus) -> bool:
    """Whether the account reflects the order, so that the next one can be sized.

    A market order is settled when nothing more will happen to it; one that rests or waits for its
    stop price as soon as the exchange has it, for then its funds are locked.
    """
    if order_type is OrderType.MARKET:
        return is_final(status)
    return is_outcome_known(status)
