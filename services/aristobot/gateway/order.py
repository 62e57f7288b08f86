"""An intent row as the gateway works with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.port import OrderRequest


@dataclass(frozen=True, slots=True)
class Order:
    """An intent row as the gateway works with it."""

    command_id: str
    request: OrderRequest
    status: OrderStatus
    executed_quantity: Decimal
    exchange_order_id: str | None
    asked_by: str
    attempt: int
    sent_timestamp_ms: int
    valid_until: datetime | None
    traceparent: str | None

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
            ),
            status=OrderStatus(row["status"]),
            executed_quantity=row["executed_quantity"],
            exchange_order_id=row["exchange_order_id"],
            asked_by=row["asked_by"],
            attempt=row["attempt"],
            sent_timestamp_ms=row["sent_timestamp_ms"],
            valid_until=row["valid_until"],
            traceparent=row["traceparent"],
        )
