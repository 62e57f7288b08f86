"""Every reason that a status can name for a strategy's failure is explained to its author."""

from __future__ import annotations

import ast
import typing
from pathlib import Path

from aristobot.runner.answers import Failure

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "services" / "aristobot"


def _reasons() -> set[str]:
    """The words given to `StrategyFailed` and `Problem`, and those a sealed process may say."""
    found = set(typing.get_args(Failure.model_fields["code"].annotation))
    for file in [*(SOURCES / "runner").glob("*.py"), SOURCES / "core" / "strategy_code.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in {"StrategyFailed", "Problem"} and node.args:
                reason = node.args[0]
                if isinstance(reason, ast.Constant):
                    found.add(str(reason.value))
    return found


def test_every_reason_is_explained() -> None:
    reasons = _reasons()
    assert {"Timeout", "ForbiddenImport", "ForbiddenCall", "SandboxLost"} <= reasons
    document = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    # A request of ours that the process doesn't know is our own mistake.
    assert not {reason for reason in reasons - {"BadRequest"} if f"`{reason}`" not in document}
