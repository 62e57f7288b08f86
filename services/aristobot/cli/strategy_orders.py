"""`aristobot strategy sell` and `cancel-orders`: decisions by hand about what a strategy has.

Each is a decision of its own, which the engine judges, records and turns into one command; then the
commands wait some seconds for what becomes of it. They need the database and the bus, so on
Kubernetes they run in a pod. Not here: changing the strategy itself (`strategies`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aristobot.cli.options import OWNER, Data, Owner
from aristobot.cli.session import Session, open_session, run
from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from aristobot.contracts.messages import Decision
    from aristobot.core.candles import Timeframe

_LOOK_SECONDS = 0.1
_LOOKS = 80

Name = Annotated[str, typer.Argument(help="As `aristobot get activestrategies` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


def sell(data: Data, name: Name, owner: Owner = OWNER) -> None:
    """Sell all that a strategy holds, at market, now. The strategy itself goes on."""
    from datetime import UTC, datetime

    from aristobot.contracts.by_hand import sale_by_hand
    from aristobot.contracts.nats_roles import api
    from aristobot.platform.decisions import publish_decision

    async def work() -> list[str]:
        async with open_session(data) as session:
            held = await positions_of(session, owner, name)
            if not held:
                await _require_known(session, owner, name)
                return [f"{name} holds nothing"]
            timeframe = await _timeframe(session, owner, name)
            async with session.bus(api()) as bus:
                results = []
                for position in held:
                    decision = sale_by_hand(
                        owner=owner,
                        broker=position["broker"],
                        active_strategy=name,
                        symbol=position["symbol"],
                        timeframe=timeframe,
                        at=datetime.now(UTC),
                    )
                    await publish_decision(bus, decision)
                    results.append(await _result(session, decision))
                return results

    for line in run(work()):
        typer.echo(line)


def cancel_orders(data: Data, name: Name, yes: Yes = False, owner: Owner = OWNER) -> None:
    """Cancel all its open orders, stop and target too. What it holds stays, unprotected."""
    from datetime import UTC, datetime

    from aristobot.contracts.by_hand import cancellation_by_hand
    from aristobot.contracts.nats_roles import api
    from aristobot.platform.decisions import publish_decision

    async def work() -> list[str]:
        async with open_session(data) as session:
            found = await _open_orders(session, owner, name)
            if not found:
                await _require_known(session, owner, name)
                return [f"{name} has no open order"]
            held = await positions_of(session, owner, name)
            if held and not yes:
                typer.echo(f"{name} holds {in_words(held)}, without a stop from then on.")
                if not typer.confirm("Cancel its orders?"):
                    return ["nothing was changed"]
            async with session.bus(api()) as bus:
                for broker, symbol in found:
                    decision = cancellation_by_hand(
                        owner=owner,
                        broker=broker,
                        active_strategy=name,
                        symbol=symbol,
                        at=datetime.now(UTC),
                    )
                    await publish_decision(bus, decision)
            return await _cancelled(session, owner, name, found)

    for line in run(work()):
        typer.echo(line)


def unknown(owner: str, name: str) -> Misconfigured:
    """The error of a name that no active strategy has."""
    return Misconfigured(f"{owner} has no active strategy {name}")


async def _require_known(session: Session, owner: str, name: str) -> None:
    # A pod doesn't see the resources; there "nothing" may also mean a name that is misspelt.
    if not session.in_pod and await session.store().get(owner, "ActiveStrategy", name) is None:
        raise unknown(owner, name)


async def positions_of(session: Session, owner: str, name: str) -> Sequence[dict[str, Any]]:
    """What the strategy holds, on whichever broker and symbol it was at work."""
    from sqlalchemy import select

    from aristobot.contracts.messages import strategy_holder
    from aristobot.platform.tables import positions

    query = select(positions).where(
        positions.c.owner == owner,
        positions.c.holder == strategy_holder(name),
        positions.c.quantity > 0,
    )
    async with session.database.transaction(owner) as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def _open_orders(session: Session, owner: str, name: str) -> dict[tuple[str, str], int]:
    """How many orders of the strategy aren't over, by broker and symbol."""
    from sqlalchemy import func, select

    from aristobot.contracts.messages import strategy_holder
    from aristobot.platform.tables import ORDER_IS_OPEN, orders

    query = (
        select(orders.c.broker, orders.c.symbol, func.count())
        .where(
            orders.c.owner == owner,
            orders.c.holder == strategy_holder(name),
            ORDER_IS_OPEN,
        )
        .group_by(orders.c.broker, orders.c.symbol)
    )
    async with session.database.transaction(owner) as connection:
        return {(row[0], row[1]): row[2] for row in await connection.execute(query)}


async def _cancelled(
    session: Session, owner: str, name: str, before: dict[tuple[str, str], int]
) -> list[str]:
    """What became of the orders that were open `before`, waiting some seconds for it."""
    left = before
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS)
        left = await _open_orders(session, owner, name)
        if not left:
            return [f"{symbol}: {count} orders cancelled" for (_, symbol), count in before.items()]
    return [
        f"{symbol}: {count} orders are still open; see `aristobot decisions list` and ask again"
        for (_, symbol), count in left.items()
    ]


async def _timeframe(session: Session, owner: str, name: str) -> Timeframe:
    """The timeframe of the strategy's last decision; it holds something, so there was one."""
    from sqlalchemy import select

    from aristobot.core.candles import Timeframe
    from aristobot.platform.tables import decisions

    query = (
        select(decisions.c.timeframe)
        .where(decisions.c.owner == owner, decisions.c.active_strategy == name)
        .order_by(decisions.c.processed_at.desc())
        .limit(1)
    )
    async with session.database.transaction(owner) as connection:
        return Timeframe(await connection.scalar(query) or Timeframe.M1)


async def _result(session: Session, decision: Decision) -> str:
    """What became of the decision and its order, waiting some seconds for it."""
    from sqlalchemy import select

    from aristobot.core.orders import OrderStatus, is_final
    from aristobot.platform.tables import decisions, orders

    query = (
        select(decisions.c.outcome, decisions.c.reason, orders)
        .outerjoin(orders, orders.c.command_id == decisions.c.command_id)
        .where(decisions.c.owner == decision.owner, decisions.c.id == decision.decision_id)
    )
    row = None
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS)
        async with session.database.transaction(decision.owner) as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            continue
        if row[decisions.c.outcome] != "ordered":
            raise Misconfigured(f"{decision.symbol} was not sold: {row[decisions.c.reason]}")
        status = row[orders.c.status]
        if status is not None and is_final(OrderStatus(status)):
            return _sold(decision.symbol, row)
    if row is None:
        return f"asked to sell {decision.symbol}; the engine has not answered yet"
    return f"asked to sell {decision.symbol}; the order is {row[orders.c.status] or 'on its way'}"


def _sold(symbol: str, row: Any) -> str:
    from aristobot.platform.tables import orders

    client_order_id, status = row[orders.c.client_order_id], row[orders.c.status]
    quantity, quote = row[orders.c.executed_quantity], row[orders.c.executed_quote]
    if not quantity:
        raise Misconfigured(
            f"{symbol} was not sold: order {client_order_id} is {status}: {row[orders.c.reason]}"
        )
    amounts = f"sold {quantity.normalize():f} for {quote.normalize():f}"
    return f"{symbol}: {amounts}, order {status}: `aristobot order show {client_order_id}`"


def in_words(held: Sequence[dict[str, Any]]) -> str:
    """What is held, for a sentence; empty when it is nothing."""
    return ", ".join(
        f"{row['quantity'].normalize():f} of {row['symbol']} on {row['broker']}" for row in held
    )


def register(app: typer.Typer) -> None:
    for command in (sell, cancel_orders):
        app.command()(command)
