"""`aristobot strategy ...`: check a strategy's code; stop, suspend, resume it, sell what it holds.

Stop and suspend change the resource as it stands at that moment; whoever executes it does the rest,
here or on Kubernetes. A sale by hand, or the cancellation of its orders, is a decision of its own,
which the engine judges, records and turns into one command.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aristobot.cli.options import OWNER, AsJson, Data, Limit, Owner
from aristobot.cli.session import Session, open_session, open_store, run
from aristobot.cli.target import current_target
from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from aristobot.contracts.messages import CancelDecision, Decision
    from aristobot.contracts.resources import ActiveStrategySpec
    from aristobot.platform.resource_store import ResourceStore, StoredResource

_PANEL = "Strategies"
_LOOK_SECONDS = 0.1
_LOOKS = 80

Name = Annotated[str, typer.Argument(help="As `aristobot get activestrategies` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

app = typer.Typer(no_args_is_help=True, help="Check and steer your own strategies.")
decisions_app = typer.Typer(no_args_is_help=True, help="What strategies decided, and what became.")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A Python file with one class on Strategy.")],
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a strategy's code, after a trial on sample candles."""
    from aristobot.cli.strategy_check import check_file

    check_file(file, as_json)


@app.command()
def stop(data: Data, name: Name, yes: Yes = False, owner: Owner = OWNER) -> None:
    """Stop a strategy for good: it decides nothing more. What it holds stays, and is told."""
    from datetime import UTC, datetime

    async def work() -> str:
        async with _steering(data) as (store, session):
            seen = await _find(store, owner, name)
            held = await _holding(seen, session)
            if held:
                typer.echo(
                    f"{name} holds {held}. Stopped, it sells no more by itself; a stop and a "
                    "target that are at the exchange stay there."
                )
                if not (yes or typer.confirm("Stop it?")):
                    return "nothing was changed"
            now = datetime.now(UTC)

            def stopped(spec: ActiveStrategySpec) -> dict[str, Any]:
                # One that would only begin later can't have ended; being inactive is enough then.
                ended = {"end": now.isoformat()} if spec.start is None or spec.start < now else {}
                return {"active": False, **ended}

            await _change(store, seen, stopped)
            if held:
                return f"{name} is stopped; `aristobot strategy sell {name}` sells what it holds"
            return f"{name} is stopped"

    typer.echo(run(work()))


@app.command()
def suspend(data: Data, name: Name, owner: Owner = OWNER) -> None:
    """Suspend a strategy: it decides nothing until it is resumed. What it holds stays."""

    async def work() -> str:
        async with _steering(data) as (store, session):
            seen = await _find(store, owner, name)
            if _spec(seen).paused:
                return f"{name} is suspended already"
            await _change(store, seen, lambda _: {"paused": True})
            held = await _holding(seen, session)
            return f"{name} is suspended" + (f"; it holds {held}" if held else "")

    typer.echo(run(work()))


@app.command()
def resume(data: Data, name: Name, owner: Owner = OWNER) -> None:
    """Resume a suspended strategy, from the next candle on."""

    def resumed(spec: ActiveStrategySpec) -> dict[str, Any]:
        if not spec.active:
            raise Misconfigured(
                f"{name} is stopped, not suspended: to start it again, apply its file with "
                "`active: true` and an `end` that lies ahead, or none"
            )
        return {"paused": False}

    async def work() -> str:
        async with open_store(data) as store:
            seen = await _find(store, owner, name)
            if _spec(seen).active and not _spec(seen).paused:
                return f"{name} is not suspended"
            await _change(store, seen, resumed)
            return f"{name} is resumed"

    typer.echo(run(work()))


@app.command()
def sell(data: Data, name: Name, owner: Owner = OWNER) -> None:
    """Sell all that a strategy holds, at market, now. The strategy itself goes on."""
    from datetime import UTC, datetime

    from aristobot.contracts.keys import manual_decision_id
    from aristobot.contracts.messages import AskedBy, Decision
    from aristobot.contracts.nats_roles import api
    from aristobot.core.orders import Side

    async def work() -> list[str]:
        async with open_session(data) as session:
            held = await _positions(session, owner, name)
            if not held:
                if not session.in_pod:
                    await _find(session.store(), owner, name)
                return [f"{name} holds nothing"]
            timeframe = await _timeframe(session, owner, name)
            async with session.bus(api()) as bus:
                results = []
                for position in held:
                    now = datetime.now(UTC)
                    decision = Decision(
                        decision_id=manual_decision_id(
                            owner, name, position["broker"], position["symbol"], now
                        ),
                        owner=owner,
                        broker=position["broker"],
                        active_strategy=name,
                        symbol=position["symbol"],
                        timeframe=timeframe,
                        candle_close=now,
                        side=Side.SELL,
                        asked_by=AskedBy.MANUAL,
                        decided_at=now,
                    )
                    await _publish(bus, decision)
                    results.append(await _result(session, decision))
                return results

    for line in run(work()):
        typer.echo(line)


@app.command()
def cancel_orders(data: Data, name: Name, yes: Yes = False, owner: Owner = OWNER) -> None:
    """Cancel all its open orders, stop and target too. What it holds stays, unprotected."""
    from datetime import UTC, datetime

    from aristobot.contracts.keys import cancel_decision_id
    from aristobot.contracts.messages import CancelDecision
    from aristobot.contracts.nats_roles import api

    async def work() -> list[str]:
        async with open_session(data) as session:
            found = await _open_orders(session, owner, name)
            if not found:
                await _find(session.store(), owner, name)
                return [f"{name} has no open order"]
            held = await _positions(session, owner, name)
            if held and not yes:
                typer.echo(f"{name} holds {_amounts(held)}, without a stop from then on.")
                if not typer.confirm("Cancel its orders?"):
                    return ["nothing was changed"]
            async with session.bus(api()) as bus:
                for broker, symbol in found:
                    now = datetime.now(UTC)
                    decision = CancelDecision(
                        kind="cancel_orders",
                        decision_id=cancel_decision_id(owner, name, broker, symbol, now),
                        owner=owner,
                        broker=broker,
                        active_strategy=name,
                        symbol=symbol,
                        decided_at=now,
                    )
                    await _publish(bus, decision)
            return await _cancelled(session, owner, name, found)

    for line in run(work()):
        typer.echo(line)


@decisions_app.command("list")
def list_decisions(
    data: Data, limit: Limit = 20, owner: Owner = OWNER, as_json: AsJson = False
) -> None:
    """The newest decisions, with what became of each and why."""
    from sqlalchemy import select

    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.platform.tables import decisions, orders

    query = (
        select(decisions, orders.c.client_order_id)
        .outerjoin(orders, orders.c.command_id == decisions.c.command_id)
        .where(decisions.c.owner == owner)
        .order_by(decisions.c.decided_at.desc(), decisions.c.id)
        .limit(limit)
    )
    (rows,) = run(read_rows(data, owner, query))
    if as_json:
        print_json(rows)
        return
    columns = "decided_at active_strategy broker symbol timeframe side quote_amount asked_by"
    shown = (*columns.split(), "outcome", "client_order_id", "reason", "trace_id")
    print_table(rows, shown, "no decisions yet")


@asynccontextmanager
async def _steering(data: Path) -> AsyncIterator[tuple[ResourceStore, Session | None]]:
    """The resources, and the platform's session where there is one: not from outside a cluster."""
    if current_target().on_kubernetes:
        async with open_store(data) as store:
            yield store, None
    else:
        async with open_session(data) as session:
            yield session.store(), session


async def _find(store: ResourceStore, owner: str, name: str) -> StoredResource:
    stored = await store.get(owner, "ActiveStrategy", name)
    if stored is None:
        raise Misconfigured(f"{owner} has no active strategy {name}")
    return stored


def _spec(stored: StoredResource) -> ActiveStrategySpec:
    from aristobot.contracts.resources import ActiveStrategy

    return stored.parse(ActiveStrategy).spec


async def _change(
    store: ResourceStore,
    seen: StoredResource,
    changes: Callable[[ActiveStrategySpec], dict[str, Any]],
) -> None:
    """Change what was seen; if somebody was faster, once more, on what stands there now."""
    from aristobot.platform.resource_store import ChangedMeanwhile

    try:
        await store.change(seen, changes(_spec(seen)))
    except ChangedMeanwhile:
        seen = await _find(store, seen.owner, seen.name)
        await store.change(seen, changes(_spec(seen)))


async def _holding(stored: StoredResource, session: Session | None) -> str:
    """What the strategy holds, in words; empty when it is nothing, or not known from here."""
    if session is None:
        return str(stored.status.get("position") or "")
    return _amounts(await _positions(session, stored.owner, stored.name))


async def _positions(session: Session, owner: str, name: str) -> Sequence[dict[str, Any]]:
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
    from aristobot.core.orders import OrderStatus, is_final
    from aristobot.platform.tables import orders

    query = (
        select(orders.c.broker, orders.c.symbol, func.count())
        .where(
            orders.c.owner == owner,
            orders.c.holder == strategy_holder(name),
            orders.c.status.in_([s.value for s in OrderStatus if not is_final(s)]),
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


async def _timeframe(session: Session, owner: str, name: str) -> str:
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
        return await connection.scalar(query) or Timeframe.M1


async def _publish(bus: Any, decision: Decision | CancelDecision) -> None:
    from aristobot.contracts import trace_names as names
    from aristobot.contracts.streams import DECISIONS, decision_subject
    from aristobot.platform import telemetry

    with telemetry.producer_span(names.STRATEGIES_DECIDED) as carrier:
        await bus.publish(
            DECISIONS,
            decision_subject(decision.key, decision.active_strategy),
            decision.encode(),
            message_id=decision.decision_id,
            headers=carrier,
        )


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


def _amounts(held: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        f"{row['quantity'].normalize():f} of {row['symbol']} on {row['broker']}" for row in held
    )


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="strategy", rich_help_panel=_PANEL)
    parent.add_typer(decisions_app, name="decision", rich_help_panel=_PANEL)
    parent.add_typer(decisions_app, name="decisions", hidden=True)
