"""What the house's rules say about files, and no linter checks."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "services").rglob("*.py"))
MAX_LINES = 600


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_enough(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{lines} lines: split it"


def test_every_module_opens_with_what_it_is_for() -> None:
    silent = [
        str(module.relative_to(ROOT))
        for module in MODULES
        if (text := module.read_text(encoding="utf-8")).strip() and not text.startswith('"""')
    ]
    assert not silent


def test_the_operator_shadows_no_standard_module() -> None:
    """`operator/` as a package would hide Python's own `operator`."""
    assert not (ROOT / "operator" / "__init__.py").exists()
