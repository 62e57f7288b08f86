"""`aristobot strategy ...`: what concerns the user's own strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aristobot.cli.options import AsJson
from aristobot.cli.strategy_check import check_file

strategy = typer.Typer(no_args_is_help=True, help="Check and steer your own strategies.")


@strategy.command()
def check(
    file: Annotated[Path, typer.Argument(help="A Python file with one class on Strategy.")],
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a strategy's code, after a trial on sample candles."""
    check_file(file, as_json)


def register(app: typer.Typer) -> None:
    app.add_typer(strategy, name="strategy")
