"""Reads commands, also those of a later version, as far as they can be read.

A command that can't be carried out must not hold up all that come after it. An order that can't be
read is refused if its refusal can be written, for whoever sizes the next one waits for its row; any
other kind is left to the caller to drop. Not here: whether a command that can be read may be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import ValidationError

from aristobot.contracts.messages import (
    CancelOrder,
    CancelOrders,
    CommandEnvelope,
    Message,
    PlaceOrder,
    ProtectPosition,
    RefusableOrder,
)
from aristobot.contracts.streams import BrokerKey
from aristobot.core.orders import OrderType


@dataclass(frozen=True, slots=True)
class UnreadableOrder:
    """`refusable`: what of the order could be read; never to be sent."""

    refusable: PlaceOrder
    reason: str

    @property
    def key(self) -> BrokerKey:
        return self.refusable.key

    @property
    def command_id(self) -> str:
        return self.refusable.command_id


Command: TypeAlias = PlaceOrder | CancelOrder | ProtectPosition | CancelOrders | UnreadableOrder


class _RefusableEnvelope(Message):
    command: RefusableOrder


def read_command(data: bytes) -> Command:
    """Raises `ValidationError` when there is nothing in it to act on."""
    try:
        return CommandEnvelope.model_validate_json(data).command
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        read = _RefusableEnvelope.model_validate_json(data).command
        where = ".".join(map(str, first["loc"]))
        return UnreadableOrder(
            # What the order really is can't be told; its row has to name a type.
            PlaceOrder.model_construct(type=OrderType.MARKET, **dict(read)),
            f"this version of the gateway can't read the order: {where}: {first['msg']}",
        )
