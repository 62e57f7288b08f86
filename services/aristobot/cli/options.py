"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
Owner = Annotated[
    str,
    typer.Option("--owner", "-n", help="Whose resources and rows.", envvar="ARISTOBOT_OWNER"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON array on stdout.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many rows.")]

OWNER = DEFAULT_OWNER
