"""The order of a whole run: the files that take longest begin first.

Two workers take file after file. With a long one at the end, the other worker would wait for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_ROOT = Path(__file__).parent
#: Longest first; what isn't named comes after these, and the unit tests last.
_FIRST = (
    "fault/test_chaos_short.py",
    "fault",
    "e2e",
    "component/heartbeat",
    "component/gateway",
    "component",
    "contract",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path.relative_to(_ROOT).as_posix()))


def _rank(path: str) -> int:
    # The slash keeps `fault` from being taken for the beginning of another folder's name.
    return next(
        (n for n, first in enumerate(_FIRST) if f"{path}/".startswith(f"{first}/")), len(_FIRST)
    )
