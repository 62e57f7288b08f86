"""Orders, positions and balances: what was sent, what the exchange said, what is held."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from aristobot.cli.options import OWNER, AsJson, Data, Limit, Owner
from aristobot.cli.session import Session, open_session, run
from aristobot.core.errors import Misconfigured

_PANEL = "Looking"
_CANCEL_LOOK_SECONDS = 0.1
_CANCEL_LOOKS = 50

ClientOrderId = Annotated[str, typer.Argument(help="As `aristobot order list` shows it.")]

app = typer.Typer(no_args_is_help=True, help="Orders: see them, cancel them.")
positions_app = typer.Typer(no_args_is_help=True, help="What is held through our orders.")


@app.command("list")
def list_orders(
    data: Data, limit: Limit = 20, owner: Owner = OWNER, as_json: AsJson = False
) -> None:
    """The newest orders, with what the exchange said of them.

    A stop has the price that triggers it, a target its limit price, and both the order whose
    position they protect.
    """
    from sqlalchemy import select

    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.contracts.keys import client_order_id
    from aristobot.platform.tables import orders

    query = (
        select(orders)
        .where(orders.c.owner == owner)
        .order_by(orders.c.created_at.desc(), orders.c.command_id)
        .limit(limit)
    )
    (rows,) = run(read_rows(data, owner, query))
    for row in rows:
        row["protects_order"] = client_order_id(row["protects"]) if row["protects"] else None
    if as_json:
        print_json(rows)
        return
    columns = "created_at broker symbol side type price stop_price status"
    more = ("executed_quantity", "executed_quote", "client_order_id", "protects_order", "reason")
    print_table(rows, (*columns.split(), *more), "no orders yet")


@app.command("show")
def show_order(
    data: Data, client_order_id: ClientOrderId, owner: Owner = OWNER, as_json: AsJson = False
) -> None:
    """One order with its fills and every request to the exchange about it."""
    from sqlalchemy import select

    from aristobot.cli.output import print_fields, print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.platform.tables import fills, journal, orders

    order = select(orders.c.command_id).where(
        orders.c.owner == owner, orders.c.client_order_id == client_order_id
    )
    found, executed, calls = run(
        read_rows(
            data,
            owner,
            select(orders).where(orders.c.command_id.in_(order)),
            select(fills)
            .where(fills.c.owner == owner, fills.c.client_order_id == client_order_id)
            .order_by(fills.c.at, fills.c.trade_id),
            select(journal).where(journal.c.command_id.in_(order)).order_by(journal.c.id),
        )
    )
    if not found:
        raise Misconfigured(f"{owner} has no order {client_order_id}")
    if as_json:
        print_json({**found[0], "fills": executed, "journal": calls})
        return
    print_fields(found[0])
    print_table(executed, ("at", "trade_id", "price", "quantity", "fee", "fee_asset"), "no fills")
    columns = ("sent_at", "purpose", "method", "path", "status", "duration_ms", "answer", "failure")
    print_table(calls, columns, "nothing was sent to the exchange")


@app.command("cancel")
def cancel_order(
    data: Data,
    client_order_id: ClientOrderId,
    owner: Owner = OWNER,
) -> None:
    """Cancel an order that waits at the exchange, and say what became of it."""
    from datetime import UTC, datetime

    from sqlalchemy import RowMapping, select

    from aristobot.contracts import trace_names as names
    from aristobot.contracts.keys import cancel_id
    from aristobot.contracts.messages import AskedBy, CancelOrder, CommandEnvelope
    from aristobot.contracts.nats_roles import api
    from aristobot.contracts.streams import ORDERS, command_subject
    from aristobot.core.orders import OrderStatus, is_final
    from aristobot.platform import telemetry
    from aristobot.platform.tables import orders

    async def look(session: Session) -> RowMapping:
        async with session.database.transaction(owner) as connection:
            rows = await connection.execute(
                select(orders).where(
                    orders.c.owner == owner, orders.c.client_order_id == client_order_id
                )
            )
            row = rows.mappings().one_or_none()
        if row is None:
            raise Misconfigured(f"{owner} has no order {client_order_id}")
        return row

    async def work() -> str:
        async with open_session(data) as session, session.bus(api()) as bus:
            row = await look(session)
            if is_final(OrderStatus(row["status"])):
                return f"nothing to cancel: the order is {row['status']}"
            now = datetime.now(UTC)
            command = CancelOrder(
                command_id=cancel_id(client_order_id, now),
                client_order_id=client_order_id,
                owner=owner,
                broker=row["broker"],
                symbol=row["symbol"],
                asked_by=AskedBy.MANUAL,
                caused_at=now,
            )
            with telemetry.producer_span(names.ORDERS_COMMANDS) as carrier:
                await bus.publish(
                    ORDERS,
                    command_subject(command.key),
                    CommandEnvelope(command=command).encode(),
                    message_id=command.command_id,
                    headers=carrier,
                )
            for _ in range(_CANCEL_LOOKS):
                await asyncio.sleep(_CANCEL_LOOK_SECONDS)
                status = (await look(session))["status"]
                if is_final(OrderStatus(status)):
                    return f"order {client_order_id} is {status}"
            return f"asked; the exchange has not confirmed yet, the order is {status}"

    typer.echo(run(work()))


@positions_app.command("list")
def list_positions(data: Data, owner: Owner = OWNER, as_json: AsJson = False) -> None:
    """Every position that an order of ours has opened, moved or closed, and what guards it."""
    from sqlalchemy import select

    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.platform.tables import orders, positions

    held = (
        select(positions)
        .where(positions.c.owner == owner)
        .order_by(positions.c.broker, positions.c.symbol, positions.c.holder)
    )
    guards = select(orders).where(
        orders.c.owner == owner,
        orders.c.protects.is_not(None),
        orders.c.status.in_(("new", "partially_filled")),
    )
    rows, resting = run(read_rows(data, owner, held, guards))
    for row in rows:
        row["entry_price"] = row["cost"] / row["quantity"] if row["quantity"] else None
        row["at_exchange"] = ", ".join(
            f"{order['type']} {order['stop_price'] or order['price']:f}"
            for order in resting
            if all(order[name] == row[name] for name in ("broker", "symbol", "holder"))
        )
    if as_json:
        print_json(rows)
        return
    columns = "broker symbol holder state quantity entry_price stop_loss_price take_profit_price"
    print_table(rows, (*columns.split(), "at_exchange", "updated_at"), "no position yet")


def balance(
    data: Data,
    broker: Annotated[str, typer.Argument(help="The broker.")],
    owner: Owner = OWNER,
    as_json: AsJson = False,
) -> None:
    """What the account holds, asked from the exchange now."""
    from aristobot.cli.output import print_json, print_table
    from aristobot.contracts.messages import AccountQuery, QueryEnvelope, QueryReply
    from aristobot.contracts.nats_roles import api
    from aristobot.contracts.streams import BrokerKey, query_subject

    async def work() -> QueryReply:
        async with open_session(data) as session, session.bus(api()) as bus:
            reply = await bus.request(
                query_subject(BrokerKey(owner, broker)),
                QueryEnvelope(query=AccountQuery()).encode(),
                timeout_seconds=10.0,
            )
            return QueryReply.model_validate_json(reply)

    reply = run(work())
    if reply.account is None:
        reason = reply.failure.message if reply.failure else "no answer"
        raise Misconfigured(f"the balance of {broker} can't be had: {reason}")
    rows = [balance.model_dump() for balance in reply.account.balances]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("asset", "free", "locked"), "the account is empty")


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="order", rich_help_panel=_PANEL)
    parent.add_typer(positions_app, name="position", rich_help_panel=_PANEL)
    parent.add_typer(positions_app, name="positions", hidden=True)
    parent.command(rich_help_panel=_PANEL)(balance)
