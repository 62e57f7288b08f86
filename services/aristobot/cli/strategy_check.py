"""`aristobot strategy check FILE`, and `apply`: what is wrong with a strategy before it trades.

The code runs in a sealed process (`runner.check`), so that checking a stranger's file is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aristobot.cli.output import print_json
from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from aristobot.contracts.resources import Strategy
    from aristobot.core.strategy_code import Problem

#: More than a Strategy may hold, here or in a ConfigMap, is not read at all.
_LARGEST_FILE_BYTES = 262_144


def check_file(path: Path, as_json: bool) -> None:
    """Check the file and say what was found; exits with 1 when it has problems."""
    from aristobot.runner.check import check

    result = asyncio.run(check(_read(path)))
    if as_json:
        problems = [
            {"code": p.code, "message": p.message, "line": p.line, "column": p.column}
            for p in result.problems
        ]
        print_json(
            {
                "ok": result.ok,
                "class_name": result.class_name,
                "problems": problems,
                "notes": list(result.notes),
            }
        )
    else:
        for problem in result.problems:
            typer.echo(f"{path}{_place(problem)}: {problem.code}: {problem.message}")
        for note in result.notes:
            typer.echo(f"note: {note}")
        if result.ok:
            typer.echo(f"{path}: {result.class_name} can be applied")
    if not result.ok:
        raise typer.Exit(1)


async def require_sound(strategies: Sequence[Strategy]) -> None:
    """Check the code of Strategy resources before they are applied.

    Raises `Misconfigured` with every problem of every one, so that a mistake changes nothing.
    """
    from aristobot.platform.sandbox.availability import unsealed_is_allowed
    from aristobot.runner.check import check
    from aristobot.runner.zygote_host import Zygote

    told = []
    zygote = Zygote(allow_unsealed=unsealed_is_allowed())
    await zygote.start()
    try:
        for strategy in strategies:
            if strategy.spec.code is None:
                continue  # it stands in a ConfigMap, and the cluster's operator looks at it there
            result = await check(strategy.spec.code, zygote=zygote)
            told += [
                f"strategy/{strategy.metadata.name}, spec.code{_place(each)}: "
                f"{each.code}: {each.message}"
                for each in result.problems
            ]
    finally:
        await zygote.close()
    if told:
        raise Misconfigured("\n".join(["nothing was applied", *told]))


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error.strerror}") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise Misconfigured(
            f"{path} has {len(data)} bytes; a strategy has at most {_LARGEST_FILE_BYTES}"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not text in UTF-8: {error.reason}") from error


def _place(problem: Problem) -> str:
    return "".join(f":{part}" for part in (problem.line, problem.column) if part is not None)
