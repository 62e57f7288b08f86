"""`aristobot trace show`: every step of one alert's way, as a waterfall."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aristobot.cli.options import AsJson, Data
from aristobot.cli.session import open_session, run
from aristobot.core.errors import Misconfigured

app = typer.Typer(no_args_is_help=True, help="The journey of one alert.")


@app.command("show")
def show_trace(
    data: Data,
    trace_id: Annotated[str, typer.Argument(help="32 hexadecimal digits.")],
    as_json: AsJson = False,
) -> None:
    """Draw a trace as a waterfall: every step from the alert to the exchange's answer."""
    from rich.console import Console

    from aristobot.api.span_store import SpanStore
    from aristobot.cli.output import print_json
    from aristobot.cli.trace_view import render
    from aristobot.core.waterfall import waterfall

    async def work() -> list[dict[str, Any]]:
        async with open_session(data) as session:
            return await SpanStore(session.database).get(trace_id.lower())

    spans = run(work())
    if not spans:
        raise Misconfigured(
            f"no spans of trace {trace_id} are stored (they arrive within a second, and stay a "
            "week)"
        )
    if as_json:
        print_json(spans)
    else:
        render(waterfall(spans), Console())


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="trace", rich_help_panel="Looking")
