"""The SQL that every order needs on its way, compiled once; see `platform.statements` for why.

What is rare (leases, unknown outcomes, sending again) is written where it is used.
"""

from __future__ import annotations

from sqlalchemy import Update, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.elements import ColumnElement

from aristobot.platform.statements import Statement
from aristobot.platform.tables import fills, gateway_leases, journal, orders

#: FOR SHARE: a successor's take_lease waits until the asking transaction has ended.
LEASE_EPOCH = Statement(
    select(gateway_leases.c.epoch)
    .where(
        gateway_leases.c.owner == bindparam("owner"),
        gateway_leases.c.broker == bindparam("broker"),
    )
    .with_for_update(read=True)
)


def _order_where(condition: ColumnElement[bool], *, lock: bool = False) -> Statement:
    query = select(orders).where(
        orders.c.owner == bindparam("owner"), orders.c.broker == bindparam("broker"), condition
    )
    return Statement(query.with_for_update() if lock else query)


ORDER_BY_COMMAND = _order_where(orders.c.command_id == bindparam("id"))
ORDER_BY_CLIENT_ID = _order_where(orders.c.client_order_id == bindparam("id"))
LOCKED_BY_CLIENT_ID = _order_where(orders.c.client_order_id == bindparam("id"), lock=True)

INSERT_INTENT = Statement(
    upsert(orders).on_conflict_do_nothing().returning(orders),
    columns=(
        "command_id",
        "client_order_id",
        "owner",
        "broker",
        "symbol",
        "side",
        "type",
        "quantity",
        "quote_quantity",
        "price",
        "status",
        "code",
        "reason",
        "asked_by",
        "source_id",
        "sent_timestamp_ms",
        "caused_at",
        "valid_until",
        "trace_id",
        "traceparent",
        "holder",
        "protection",
    ),
)


def _merge_report() -> Update:
    merged = update(orders).where(orders.c.command_id == bindparam("id"))
    return merged.values(
        status=bindparam("new_status"),
        exchange_order_id=bindparam("new_exchange_order_id"),
        executed_quantity=bindparam("new_executed_quantity"),
        executed_quote=bindparam("new_executed_quote"),
        accepted_at=func.coalesce(orders.c.accepted_at, bindparam("accepted_at")),
        code=None,
        reason=None,
        updated_at=bindparam("new_updated_at"),
    )


MERGE_REPORT = Statement(_merge_report().returning(orders))

INSERT_FILL = Statement(
    upsert(fills).on_conflict_do_nothing(),
    columns=(
        "owner",
        "broker",
        "symbol",
        "trade_id",
        "client_order_id",
        "price",
        "quantity",
        "fee",
        "fee_asset",
        "is_maker",
        "at",
    ),
)

#: What an order's known fills come to; `base_fee` is the part of the fees taken in `base`.
SUMS_OF_FILLS = Statement(
    select(
        func.coalesce(func.sum(fills.c.quantity), 0).label("quantity"),
        func.coalesce(
            func.sum(fills.c.fee).filter(fills.c.fee_asset == bindparam("base")), 0
        ).label("base_fee"),
    ).where(
        fills.c.owner == bindparam("owner"),
        fills.c.broker == bindparam("broker"),
        fills.c.client_order_id == bindparam("client_order_id"),
    )
)

INSERT_CALL = Statement(
    insert(journal),
    columns=(
        "owner",
        "broker",
        "command_id",
        "purpose",
        "asked_by",
        "method",
        "path",
        "params",
        "sent_at",
        "duration_ms",
        "status",
        "answer",
        "failure",
        "trace_id",
        "traceparent",
    ),
)
