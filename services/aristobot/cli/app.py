"""Puts the commands together."""

from __future__ import annotations

import os

import typer
from typer.core import TyperGroup

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
from aristobot.cli.target import PLATFORM_VARIABLE, current_target, options_first, set_target


class _Root(TyperGroup):
    """Takes the options of the target wherever they stand, as kubectl does."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        options, words = options_first(args)
        ctx.obj = words
        return super().parse_args(ctx, [*options, *words])


app = typer.Typer(
    name="aristobot",
    cls=_Root,
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
    ctx: typer.Context,
    kube: bool = typer.Option(
        False,
        "--kube",
        help="Mean the platform on the cluster that kubectl would use, not the one on this "
        f"machine. {PLATFORM_VARIABLE}=kubernetes does the same.",
    ),
    context: str | None = typer.Option(
        None, "--context", help="The kubeconfig's context to use; means --kube."
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options of `aristobot` itself."""
    set_target(
        kube=kube,
        context=context,
        platform=os.environ.get(PLATFORM_VARIABLE),
        words=ctx.obj,
    )
    if ctx.invoked_subcommand in ("up", "down", "status"):
        current_target().require_embedded()


for module in (platform, resources, strategies, webhooks, orders, heartbeats, traces, services):
    module.register(app)
