"""Puts the commands together."""

from __future__ import annotations

import typer

from aristobot import __version__
from aristobot.cli import (
    heartbeats,
    orders,
    platform,
    resources,
    services,
    strategies,
    traces,
    webhooks,
)

app = typer.Typer(
    name="aristobot",
    help="Self-hosted crypto trading: alerts in, orders out, nothing lost or doubled in between.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aristobot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options of `aristobot` itself."""


for module in (platform, resources, strategies, webhooks, orders, heartbeats, traces, services):
    module.register(app)
