"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aristobot.cli.target import current_target
from aristobot.contracts.resources import DEFAULT_OWNER
from aristobot.local.layout import DATA_VARIABLE, default_data

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="The platform's data folder.",
        envvar=DATA_VARIABLE,
        default_factory=default_data,
        show_default="~/.aristobot",
    ),
]


def _owner(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """Nobody named: on Kubernetes that is the kubeconfig's namespace."""
    source = context.get_parameter_source(str(parameter.name))
    is_default = source is not None and source.name == "DEFAULT"
    return current_target().default_owner(value) if is_default else value


Owner = Annotated[
    str,
    typer.Option(
        "--owner",
        "--namespace",
        "-n",
        help="Whose resources and rows; with --kube, the namespace.",
        envvar="ARISTOBOT_OWNER",
        callback=_owner,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON array on stdout.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many rows.")]

OWNER = DEFAULT_OWNER
