"""`aristobot heartbeat-status`: how each market's heartbeats fare."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from aristobot.cli.options import AsJson, Data
from aristobot.cli.session import run

_PANEL = "Looking"
#: A replica writes its status every two seconds.
_SILENT = timedelta(seconds=10)


def heartbeat_status(data: Data, as_json: AsJson = False) -> None:
    """Each market's heartbeats: state, lag, last message, candles, open gaps, coherence."""
    from sqlalchemy import func, select

    from aristobot.cli.output import print_json, print_table
    from aristobot.cli.rows import read_rows
    from aristobot.platform.db import EVERY_OWNER
    from aristobot.platform.tables_market import heartbeat_gaps, heartbeat_status

    gaps = (
        select(func.count())
        .where(
            heartbeat_gaps.c.market == heartbeat_status.c.market,
            heartbeat_gaps.c.filled_at.is_(None),
        )
        .scalar_subquery()
    )
    query = select(heartbeat_status, gaps.label("market_gaps")).order_by(
        heartbeat_status.c.market, heartbeat_status.c.replica
    )
    (rows,) = run(read_rows(data, EVERY_OWNER, query))
    now = datetime.now(UTC)
    for row in rows:
        row["state"] = _state(row, now)
        row["coherent"] = row.pop("is_coherent")
    if as_json:
        print_json(rows)
        return
    columns = (
        *("market", "replica", "state", "lag_ms", "last_message_at", "market_time", "symbols"),
        *("candles_published", "open_gaps", "market_gaps", "coherent", "started_at"),
    )
    shown = [
        {**row, "lag_ms": None if row["lag_ms"] is None else round(row["lag_ms"])} for row in rows
    ]
    print_table(shown, columns, "no heartbeat has run yet")


def _state(row: dict[str, Any], now: datetime) -> str:
    if row["stopped_at"] is not None:
        return "stopped"
    if now - row["updated_at"] > _SILENT:
        return "silent"
    return "active" if row["is_connected"] else "disconnected"


def register(parent: typer.Typer) -> None:
    parent.command("heartbeat-status", rich_help_panel=_PANEL)(heartbeat_status)
