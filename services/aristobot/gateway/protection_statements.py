"""The SQL of stops and targets, compiled once; see `platform.statements` for why."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, case, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.platform.statements import Statement
from aristobot.platform.tables import ORDER_IS_OPEN, fills, gateway_leases, orders

_IS_PROTECTIVE = orders.c.protects.is_not(None)
#: Wanted, and never sent.
_IS_PLANNED = and_(orders.c.status == OrderStatus.SENDING.value, orders.c.attempt == 0)
_OF_HOLDER = and_(
    orders.c.owner == bindparam("owner"),
    orders.c.broker == bindparam("broker"),
    orders.c.symbol == bindparam("symbol"),
    orders.c.holder == bindparam("holder"),
)

_IS_RECENT = orders.c.created_at >= bindparam("since")

#: What a holder's orders have moved: bought, less fees taken in `base`, less sold.
MOVED = Statement(
    select(
        select(
            func.coalesce(
                func.sum(
                    case(
                        (orders.c.side == Side.BUY.value, orders.c.executed_quantity),
                        else_=-orders.c.executed_quantity,
                    )
                ),
                0,
            )
        )
        .where(_OF_HOLDER, _IS_RECENT)
        .scalar_subquery()
        - select(func.coalesce(func.sum(fills.c.fee), 0))
        .select_from(
            orders.join(
                fills,
                and_(
                    fills.c.owner == orders.c.owner,
                    fills.c.broker == orders.c.broker,
                    fills.c.client_order_id == orders.c.client_order_id,
                ),
            )
        )
        .where(
            _OF_HOLDER,
            _IS_RECENT,
            orders.c.side == Side.BUY.value,
            fills.c.fee_asset == bindparam("base"),
        )
        .scalar_subquery()
    )
)

#: When the oldest order was made that can still move anything. A minute before now at the latest:
#: a transaction that is under way may make one that began before this.
SINCE = Statement(
    select(
        func.least(
            func.coalesce(func.min(orders.c.created_at), func.now()),
            func.now() - text("interval '1 minute'"),
        )
    ).where(_OF_HOLDER, ORDER_IS_OPEN)
)

LATEST_ANCHOR = Statement(
    select(orders.c.protection).where(_OF_HOLDER).order_by(orders.c.created_at.desc()).limit(1)
)

OPEN_OF_HOLDER = Statement(
    select(orders).where(_OF_HOLDER, ORDER_IS_OPEN).order_by(orders.c.created_at, orders.c.type)
)

#: The same, once what is being recorded of them is committed.
LOCKED_OPEN_OF_HOLDER = Statement(
    select(orders)
    .where(_OF_HOLDER, ORDER_IS_OPEN)
    .order_by(orders.c.created_at, orders.c.type)
    .with_for_update()
)

#: Written before anything is cancelled, so that its end is known for ours whoever records it.
MAKE_WAY = Statement(
    update(orders)
    .where(_OF_HOLDER, ORDER_IS_OPEN, _IS_PROTECTIVE, orders.c.attempt > 0)
    .values(protection=orders.c.protection.op("||")({"makes_way": True}))
    .returning(orders)
)

#: With the lease's epoch, unlocked: who asks only reads, and a lock would wait for the disk.
LOCKED_BY_HOLDER = Statement(
    select(
        func.coalesce(func.sum(orders.c.quantity - orders.c.executed_quantity), 0).label("amount"),
        select(gateway_leases.c.epoch)
        .where(
            gateway_leases.c.owner == bindparam("owner"),
            gateway_leases.c.broker == bindparam("broker"),
        )
        .scalar_subquery()
        .label("epoch"),
    ).where(
        _OF_HOLDER,
        ORDER_IS_OPEN,
        _IS_PROTECTIVE,
        orders.c.attempt > 0,
        # A stop and its target lock the same coins once.
        or_(orders.c.list_id.is_(None), orders.c.type == OrderType.STOP_LOSS.value),
    )
)

PLANNED = Statement(
    select(orders)
    .where(
        orders.c.owner == bindparam("owner"),
        orders.c.broker == bindparam("broker"),
        _IS_PROTECTIVE,
        _IS_PLANNED,
    )
    .order_by(orders.c.created_at, orders.c.type)
)

LOCKED_PLAN = Statement(
    select(orders)
    .where(
        orders.c.owner == bindparam("owner"),
        orders.c.broker == bindparam("broker"),
        orders.c.protects == bindparam("protects"),
        _IS_PLANNED,
    )
    .order_by(orders.c.type)
    .with_for_update()
)

OF_CAUSE = Statement(
    select(orders.c.command_id).where(
        orders.c.owner == bindparam("owner"),
        orders.c.broker == bindparam("broker"),
        orders.c.protects == bindparam("protects"),
    )
)

LET_GO = Statement(
    update(orders)
    .where(orders.c.command_id == bindparam("id"), _IS_PLANNED)
    .values(
        quantity=bindparam("new_quantity"),
        attempt=1,
        sent_timestamp_ms=bindparam("timestamp_ms"),
        updated_at=func.now(),
    )
    .returning(orders)
)

WITHDRAW = Statement(
    update(orders)
    .where(orders.c.command_id == bindparam("id"), _IS_PLANNED)
    .values(
        status=OrderStatus.CANCELLED.value,
        code=bindparam("new_code"),
        reason=bindparam("new_reason"),
        updated_at=func.now(),
    )
)

WITHDRAW_ALL = Statement(
    update(orders)
    .where(_OF_HOLDER, _IS_PROTECTIVE, _IS_PLANNED)
    .values(
        status=OrderStatus.CANCELLED.value,
        code=bindparam("new_code"),
        reason=bindparam("new_reason"),
        updated_at=func.now(),
    )
)

_newest = orders.alias("newest")
#: The levels are taken out of what is open, and out of the newest order, where the next one would
#: find them (`LATEST_ANCHOR`). `valid_until` keeps what is open from being sent again.
GIVE_UP = Statement(
    update(orders)
    .where(
        _OF_HOLDER,
        or_(
            ORDER_IS_OPEN,
            orders.c.created_at
            == select(func.max(_newest.c.created_at))
            .where(
                _newest.c.owner == bindparam("owner"),
                _newest.c.broker == bindparam("broker"),
                _newest.c.symbol == bindparam("symbol"),
                _newest.c.holder == bindparam("holder"),
            )
            .scalar_subquery(),
        ),
    )
    .values(
        protection=orders.c.protection.op("-")("stop_loss").op("-")("take_profit"),
        valid_until=case(
            (ORDER_IS_OPEN, func.least(orders.c.valid_until, func.now())),
            else_=orders.c.valid_until,
        ),
    )
    .returning(orders)
)

SAY_UNPROTECTED = Statement(
    update(orders)
    .where(orders.c.command_id == bindparam("id"))
    .values(code=bindparam("new_code"), reason=bindparam("new_reason"))
)

INSERT_PLAN = Statement(
    upsert(orders).on_conflict_do_nothing(),
    columns=(
        "command_id",
        "client_order_id",
        "owner",
        "broker",
        "symbol",
        "side",
        "type",
        "quantity",
        "price",
        "status",
        "asked_by",
        "source_id",
        "attempt",
        "sent_timestamp_ms",
        "caused_at",
        "trace_id",
        "traceparent",
        "holder",
        "protection",
        "protects",
        "stop_price",
        "list_id",
    ),
)
