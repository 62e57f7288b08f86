"""`aristobot webhook`: send an alert as TradingView would, list what came in, show the URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aristobot.cli.options import OWNER, AsJson, Data, Limit, Owner
from aristobot.cli.session import Session, open_session, run
from aristobot.cli.target import current_target
from aristobot.contracts.workload import OWNER_WEBHOOK_SECRET, webhook_secret
from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

_SEND_SECONDS = 10.0

app = typer.Typer(no_args_is_help=True, help="Send alerts, and see what became of them.")


@asynccontextmanager
async def _session(data: Path, owner: str, broker: str | None) -> AsyncIterator[Session]:
    """Raises `Misconfigured` with where to find the token, when a cluster's platform is meant."""
    if current_target().on_kubernetes:
        raise Misconfigured(
            "on Kubernetes the address is that of your Ingress, followed by /webhook/TOKEN; "
            f"`kubectl -n {owner} get secret {_secret(broker)} -o jsonpath='{{.data.token}}' | "
            "base64 -d` shows the token"
        )
    async with open_session(data) as session:
        yield session


def _secret(broker: str | None) -> str:
    return webhook_secret(broker) if broker else OWNER_WEBHOOK_SECRET


async def _url(session: Session, owner: str, broker: str | None) -> str:
    secret = _secret(broker)
    token = (await session.store().read_secret(owner, secret)).get("token")
    if token is None:
        whose = f"broker {broker} of {owner}" if broker else owner
        raise Misconfigured(f"{whose} has no webhook token: apply a Broker first")
    return f"{session.address.webhook_url}/{token}"


def _body(file: Path | None, fields: dict[str, Any]) -> bytes:
    from aristobot.contracts.alert_body import render

    if file is not None:
        try:
            return file.read_bytes()
        except OSError as error:
            raise Misconfigured(f"{file} can't be read: {error.strerror}") from error
    if fields["action"] is None:
        raise Misconfigured("name a --file, or at least an --action")
    fields["bar_time"] = fields["bar_time"] or datetime.now(UTC)
    return render(**fields)


@app.command()
def send(
    data: Data,
    file: Annotated[Path | None, typer.Option(help="Send this file's bytes as they are.")] = None,
    action: Annotated[
        str | None, typer.Option(help="PING, BuyMarket, SellMarket, BuyLimit, SellLimit or MAJ.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Such as BTCUSDT.")] = None,
    percent: Annotated[str | None, typer.Option(help="PourCent: above 0, at most 100.")] = None,
    price: Annotated[str | None, typer.Option(help="Prix, for limit orders.")] = None,
    stop_loss: Annotated[str | None, typer.Option(help="PrixSL.")] = None,
    take_profit: Annotated[str | None, typer.Option(help="PrixTP.")] = None,
    interval: Annotated[str, typer.Option(help="Such as 5, 60, 1D.")] = "1",
    bar_time: Annotated[str | None, typer.Option(help="BarTime; now if left out.")] = None,
    indicator: Annotated[str, typer.Option(help="IndicateurName.")] = "aristobot cli",
    broker: Annotated[
        str, typer.Option(help="Whose token is used; empty: the owner's own.")
    ] = "demo",
    user_exchange_id: Annotated[
        str | None, typer.Option(help="UserExchangeID: the broker, with the owner's own token.")
    ] = None,
    owner: Owner = OWNER,
    as_json: AsJson = False,
) -> None:
    """Post an alert to the running platform, the way TradingView does."""
    import httpx

    body = _body(
        file,
        {
            "action": action,
            "symbol": symbol,
            "percent": percent,
            "price": price,
            "stop_loss_price": stop_loss,
            "take_profit_price": take_profit,
            "interval": interval,
            "bar_time": bar_time,
            "indicator": indicator,
            "broker_ref": user_exchange_id or broker or None,
        },
    )

    async def work() -> httpx.Response:
        async with _session(data, owner, broker or None) as session:
            url = await _url(session, owner, broker or None)
        async with httpx.AsyncClient(timeout=_SEND_SECONDS, trust_env=False) as client:
            try:
                return await client.post(
                    url, content=body, headers={"content-type": "text/plain; charset=utf-8"}
                )
            except httpx.HTTPError as error:
                # The URL holds the token, so it's not part of what is said.
                raise Misconfigured(
                    f"ingress does not answer ({type(error).__name__}): see `aristobot status`"
                ) from None

    answer = run(work())
    if answer.is_error:
        raise Misconfigured(f"ingress answered {answer.status_code}: {answer.text}")
    if as_json:
        typer.echo(f"[{answer.text}]")
        return
    result = answer.json()
    typer.echo(f"webhook {result['id']}" + ("  (was received before)" * result["duplicate"]))
    typer.echo(f"trace   {result['trace_id']}")
    typer.echo("look:   aristobot webhook list    aristobot trace show " + result["trace_id"])


@app.command("list")
def list_webhooks(
    data: Data, limit: Limit = 20, owner: Owner = OWNER, as_json: AsJson = False
) -> None:
    """The newest webhooks and what they led to."""
    from sqlalchemy import select

    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.platform.tables import webhooks

    query = (
        select(*_columns(webhooks))
        .where(webhooks.c.owner == owner)
        .order_by(webhooks.c.received_at.desc(), webhooks.c.id)
        .limit(limit)
    )
    (rows,) = run(read_rows(data, owner, query))
    if as_json:
        print_json(rows)
        return
    print_table(
        rows,
        ("received_at", "broker", "action", "symbol", "percent", "outcome", "reason", "trace_id"),
        "no webhooks yet: `aristobot webhook send --action PING`",
    )


@app.command("show")
def show_webhook(
    data: Data,
    webhook_id: Annotated[str, typer.Argument(help="As ingress answered it.")],
    owner: Owner = OWNER,
    as_json: AsJson = False,
) -> None:
    """One webhook with its body as it came in, and the order it led to."""
    from sqlalchemy import select

    from aristobot.cli.output import print_fields, print_json
    from aristobot.cli.rows import read_rows
    from aristobot.platform.tables import orders, webhooks

    query = (
        select(*_columns(webhooks), orders.c.client_order_id, orders.c.status.label("order_status"))
        .join(orders, orders.c.command_id == webhooks.c.command_id, isouter=True)
        .where(webhooks.c.owner == owner, webhooks.c.id == webhook_id)
    )
    (rows,) = run(read_rows(data, owner, query))
    if not rows:
        raise Misconfigured(f"{owner} has no webhook {webhook_id} (yet)")
    if as_json:
        print_json(rows[0])
    else:
        print_fields(rows[0])


def _columns(webhooks: Table) -> list[Column[Any]]:
    """What is shown of a webhook: everything but the keys that only deduplication needs."""
    return [c for c in webhooks.c if c.name not in ("stream_sequence", "delivery_key")]


@app.command()
def url(
    data: Data,
    broker: Annotated[
        str | None, typer.Argument(help="The broker; none: the owner's own URL.")
    ] = None,
    owner: Owner = OWNER,
) -> None:
    """Print the URL to enter in TradingView. It holds the token: treat it as a password."""

    async def work() -> str:
        async with _session(data, owner, broker) as session:
            return await _url(session, owner, broker)

    typer.echo(run(work()))


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="webhook", rich_help_panel="Looking")
