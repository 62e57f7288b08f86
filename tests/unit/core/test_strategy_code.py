"""What the text of a strategy shows: each mistake at its line and column."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.strategy_code import REQUIRED_METHODS, judge

EXAMPLE = (Path(__file__).parents[3] / "docs" / "examples" / "ema_10_20.py").read_text()
METHODS = "".join(f"    def {name}(self): return 0\n" for name in REQUIRED_METHODS)
GOOD = f"class A(Strategy):\n{METHODS}"


def _problems(code: str) -> list[tuple[str, int | None, int | None]]:
    return [(p.code, p.line, p.column) for p in judge(code).problems]


def test_the_example_is_sound() -> None:
    judged = judge(EXAMPLE)
    assert (judged.class_name, judged.problems) == ("MaNouvelleStrategie", ())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("x = (\n", ("SyntaxError", 1, 5)),
        ("def f():\nreturn 1\n", ("SyntaxError", 2, 1)),
        ("class A(Strategy):\n    x = = 1\n", ("SyntaxError", 2, 9)),
        ("x = '\0'", ("SyntaxError", None, None)),
        ("", ("NoStrategyClass", None, None)),
        ("class A: pass", ("NoStrategyClass", None, None)),
        (GOOD + GOOD.replace("A", "B"), ("SeveralStrategyClasses", 7, 1)),
        ("import os\n" + GOOD, ("ForbiddenImport", 1, 1)),
        ("import math, socket\n" + GOOD, ("ForbiddenImport", 1, 1)),
        ("from os.path import join\n" + GOOD, ("ForbiddenImport", 1, 1)),
        ("from . import x\n" + GOOD, ("ForbiddenImport", 1, 1)),
        ("import talib\n" + GOOD, ("ForbiddenImport", 1, 1)),
        (GOOD + "    def more(self):\n        import sys\n", ("ForbiddenImport", 8, 9)),
        (GOOD.replace("should_long", "long"), ("MissingMethod", 1, 1)),
        (GOOD.replace("should_long(self)", "should_long()"), ("WrongArguments", 2, 5)),
        (GOOD.replace("should_long(self)", "should_long(self, x)"), ("WrongArguments", 2, 5)),
        (GOOD.replace("should_long(self)", "should_long(self, *, x)"), ("WrongArguments", 2, 5)),
        (GOOD.replace("def should_long", "async def should_long"), ("WrongArguments", 2, 5)),
        (GOOD + "    def __init__(self, candles): pass\n", ("WrongArguments", 7, 5)),
        (GOOD + "    def __init__(self, a, b, c, d): pass\n", ("WrongArguments", 7, 5)),
    ],
)
def test_a_mistake_is_told_with_its_place(
    code: str, found: tuple[str, int | None, int | None]
) -> None:
    assert _problems(code) == [found]


@pytest.mark.parametrize(
    "code",
    [
        GOOD + "    def __init__(self, candles, balance, position=None): pass\n",
        GOOD + "    def __init__(self, data, cash, held, more=1): pass\n",
        GOOD + "    def __init__(self, *args): pass\n",
        GOOD + "    def __init__(*args, **more): pass\n",
        GOOD.replace("should_long(self)", "should_long(self, deep=True)"),
        "class Base(Strategy):\n" + METHODS + "class A(Base): pass\n",
        "class A(Strategy): pass\n".replace("pass", "\n" + METHODS),
        "import numpy.linalg as la\nfrom pandas_ta import ema\nimport math, json\n" + GOOD,
        "from __future__ import annotations\n" + GOOD,
    ],
)
def test_what_would_run_is_not_complained_about(code: str) -> None:
    assert _problems(code) == []


def test_the_message_of_an_import_says_what_there_is() -> None:
    (problem,) = judge("import requests\n" + GOOD).problems
    assert problem.message.startswith("requests can't be imported; a strategy has ")
    assert "numpy, operator, pandas, pandas_ta" in problem.message
    (problem,) = judge("from aristobot.runner import Strategy\n" + GOOD).problems
    assert "are given" in problem.message


def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    code = "import os\nimport sys\nclass A(Strategy):\n    def should_long(self, x): pass\n"
    assert [line for _, line, _ in _problems(code)] == [1, 2, 3, 3, 3, 3, 4]


@given(st.text(max_size=200) | st.text("()[]{}:='\" \n\tclassdefimport\\", max_size=200))
def test_no_text_breaks_it(code: str) -> None:
    judged = judge(code)
    assert judged.class_name is not None or judged.problems


@pytest.mark.parametrize("code", ["'(' * 5000 + ')' * 5000", "'-' * 50_000 + '1'"])
def test_deep_nesting_is_a_problem_and_no_crash(code: str) -> None:
    """In a process of its own, as always: Python 3.11's parser may be unusable after it."""
    judging = f"print(judge({code}).problems[0].code)"
    program = f"from aristobot.core.strategy_code import judge; {judging}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "SyntaxError\n"
