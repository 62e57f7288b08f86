"""What is held on a broker, from the database alone: positions, open orders, recorded decisions.

Cheap enough to be asked every few seconds for every broker there is. Read-only, the gateway's
orders included. Deliberately not here: what the account at the exchange really has.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.messages import HolderPosition, RecordedDecision
from aristobot.contracts.streams import BrokerKey
from aristobot.core.positions import PositionState
from aristobot.engine.repository import Holding
from aristobot.platform.statements import Statement
from aristobot.platform.tables import ORDER_IS_OPEN, decisions, orders, positions

_open = (
    select(orders.c.symbol, orders.c.holder, func.count().label("open_orders"))
    .where(
        orders.c.owner == bindparam("owner"),
        orders.c.broker == bindparam("broker"),
        ORDER_IS_OPEN,
    )
    .group_by(orders.c.symbol, orders.c.holder)
    .subquery()
)
_held = (
    select(positions)
    .where(positions.c.owner == bindparam("owner"), positions.c.broker == bindparam("broker"))
    .subquery()
)
_is_under_way = and_(
    _held.c.state != PositionState.FLAT.value, _held.c.state != PositionState.OPEN.value
)
#: One statement, so one moment: a sale's end is either in both tables or in none.
_HOLDINGS = Statement(
    select(
        func.coalesce(_held.c.holder, _open.c.holder).label("holder"),
        func.coalesce(_held.c.symbol, _open.c.symbol).label("symbol"),
        func.coalesce(_held.c.quantity, 0).label("quantity"),
        func.coalesce(_is_under_way, False).label("has_order_under_way"),
        func.coalesce(_open.c.open_orders, 0).label("open_orders"),
    )
    .select_from(
        _held.join(
            _open,
            and_(_held.c.holder == _open.c.holder, _held.c.symbol == _open.c.symbol),
            full=True,
        )
    )
    .where(or_(_held.c.quantity > 0, _is_under_way, _open.c.open_orders > 0))
    .order_by("symbol", "holder")
)
_OPEN_ORDERS = Statement(
    select(func.count()).where(
        orders.c.owner == bindparam("owner"),
        orders.c.broker == bindparam("broker"),
        orders.c.symbol == bindparam("symbol"),
        orders.c.holder == bindparam("holder"),
        ORDER_IS_OPEN,
    )
)
_DECISIONS = Statement(
    select(
        decisions.c.id.label("decision_id"),
        decisions.c.outcome,
        decisions.c.code,
        decisions.c.reason,
        orders.c.status.label("order_status"),
        orders.c.reason.label("order_reason"),
    )
    .select_from(decisions.outerjoin(orders, orders.c.command_id == decisions.c.command_id))
    .where(
        decisions.c.id == func.any(bindparam("ids", type_=ARRAY(TEXT))),
        decisions.c.owner == bindparam("owner"),
        decisions.c.broker == bindparam("broker"),
    )
)


async def read_holdings(connection: AsyncConnection, key: BrokerKey) -> tuple[HolderPosition, ...]:
    """Whatever holds something on the broker, has an order under way, or an open order."""
    rows = await _HOLDINGS.rows(connection, owner=key.owner, broker=key.broker)
    return tuple(HolderPosition.model_validate(dict(row)) for row in rows)


async def open_orders(connection: AsyncConnection, holding: Holding) -> int:
    """How many orders of the holder's aren't over, those that are only planned included."""
    count: int = await _OPEN_ORDERS.value(connection, **holding.columns())
    return count


async def read_decisions(
    connection: AsyncConnection, key: BrokerKey, ids: Collection[str]
) -> tuple[RecordedDecision, ...]:
    """Those of `ids` that are recorded for this broker, in no order."""
    if not ids:
        return ()
    rows = await _DECISIONS.rows(connection, owner=key.owner, broker=key.broker, ids=list(ids))
    return tuple(RecordedDecision.model_validate(dict(row)) for row in rows)
