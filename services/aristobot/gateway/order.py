"""An intent row as the gateway works with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping

from aristobot.contracts.messages import Amount, Level, Protection
from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.core.protection import Aim
from aristobot.exchanges.port import OrderRequest


class Anchor(Protection):
    """A holder's stop and target, and what it held when `moved` was the sum of its orders.

    Of those made at `since` or later; older ones were over by then. What is held at any later time
    follows from the orders alone (`core.protection.holding`). `makes_way`: of a protective order
    that we have begun to cancel, for a sale or for another one, and not because somebody wished it.
    """

    moved: Amount = Decimal(0)
    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    makes_way: bool = False

    def with_prices_of(self, later: Anchor | None) -> Anchor:
        """The same with the prices that a later order or command has given the position."""
        if later is None:
            return self
        known = {
            name: level
            for name in ("stop_loss", "take_profit")
            if (level := getattr(later, name)) is not None and level.kind == "price"
        }
        return self.model_copy(update=known)

    @property
    def has_levels(self) -> bool:
        return self.stop_loss is not None or self.take_profit is not None

    @property
    def stop(self) -> Aim | None:
        return _aim(self.stop_loss)

    @property
    def target(self) -> Aim | None:
        return _aim(self.take_profit)


def _aim(level: Level | None) -> Aim | None:
    return Aim(level.value, is_fraction=level.kind == "fraction") if level else None


@dataclass(frozen=True, slots=True)
class Order:
    """An intent row as the gateway works with it.

    `protects`: the command whose execution a stop, target or closing sale of ours protects.
    `list_id` binds a stop and its target; it is theirs at the exchange, too.
    """

    command_id: str
    request: OrderRequest
    status: OrderStatus
    executed_quantity: Decimal
    executed_quote: Decimal
    exchange_order_id: str | None
    asked_by: str
    attempt: int
    sent_timestamp_ms: int
    valid_until: datetime | None
    traceparent: str | None
    source_id: str
    caused_at: datetime
    created_at: datetime
    holder: str
    anchor: Anchor | None
    protects: str | None
    list_id: str | None

    @property
    def is_planned(self) -> bool:
        """Whether it is wanted and was never sent. Only `gateway.protector` lets it be sent."""
        return self.attempt == 0

    @property
    def protects_now(self) -> bool:
        """Whether the exchange has, or may have, a stop or target here; a pair is its stop."""
        is_first = self.list_id is None or self.request.type is OrderType.STOP_LOSS
        return self.protects is not None and is_first and not self.is_planned

    @classmethod
    def of(cls, row: Mapping[str, Any] | RowMapping) -> Order:
        return cls(
            command_id=row["command_id"],
            request=OrderRequest(
                symbol=row["symbol"],
                side=Side(row["side"]),
                type=OrderType(row["type"]),
                client_order_id=row["client_order_id"],
                quantity=row["quantity"],
                quote_quantity=row["quote_quantity"],
                price=row["price"],
                stop_price=row["stop_price"],
            ),
            status=OrderStatus(row["status"]),
            executed_quantity=row["executed_quantity"],
            executed_quote=row["executed_quote"],
            exchange_order_id=row["exchange_order_id"],
            asked_by=row["asked_by"],
            attempt=row["attempt"],
            sent_timestamp_ms=row["sent_timestamp_ms"],
            valid_until=row["valid_until"],
            traceparent=row["traceparent"],
            source_id=row["source_id"],
            caused_at=row["caused_at"],
            created_at=row["created_at"],
            holder=row["holder"],
            anchor=Anchor.model_validate(row["protection"]) if row["protection"] else None,
            protects=row["protects"],
            list_id=row["list_id"],
        )
