"""`aristobot strategy ...`: check a strategy's code; stop, suspend and resume it; its decisions.

Stop and suspend change the resource as it stands at that moment; whoever executes it does the rest,
here or on Kubernetes. Not here: what is decided by hand about orders (`strategy_orders`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aristobot.cli.options import OWNER, AsJson, Data, Limit, Owner
from aristobot.cli.session import Session, open_session, open_store, run
from aristobot.cli.strategy_orders import Name, Yes, in_words, positions_of, unknown
from aristobot.cli.strategy_orders import register as register_orders
from aristobot.cli.target import current_target
from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from aristobot.contracts.resources import ActiveStrategySpec
    from aristobot.platform.resource_store import ResourceStore, StoredResource

_PANEL = "Strategies"

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
        raise unknown(owner, name)
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
    return in_words(await positions_of(session, stored.owner, stored.name))


def register(parent: typer.Typer) -> None:
    register_orders(app)
    parent.add_typer(app, name="strategy", rich_help_panel=_PANEL)
    parent.add_typer(decisions_app, name="decision", rich_help_panel=_PANEL)
    parent.add_typer(decisions_app, name="decisions", hidden=True)
