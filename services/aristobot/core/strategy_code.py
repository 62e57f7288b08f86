"""Judges a strategy's code by its syntax tree, without running it.

Lines and columns count from 1. Parsing a stranger's text is not free of danger (deep nesting can
exhaust the parser), so it is called inside a sealed process (`runner.sealed_child`), before the
code runs and for `aristobot strategy check`. It guides, it guards nothing: code can import by other
ways, and what it may do is decided by the seal around its process.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

BASE = "Strategy"
REQUIRED_METHODS = (
    "should_long",
    "should_short",
    "calculate_position_size",
    "calculate_stop_loss",
    "calculate_take_profit",
)
#: What `__init__` is called with, after `self`.
CONSTRUCTOR_ARGUMENTS = 3

#: The modules that a strategy may import, and their parts.
ALLOWED_IMPORTS = frozenset(
    {
        "__future__",
        "abc",
        "bisect",
        "calendar",
        "cmath",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "heapq",
        "itertools",
        "json",
        "math",
        "numbers",
        "numpy",
        "operator",
        "pandas",
        "pandas_ta",
        "pandas_ta_classic",
        "random",
        "re",
        "statistics",
        "string",
        "time",
        "typing",
        "warnings",
        "zoneinfo",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """`code`: one CamelCase word. `line` and `column` are None where it has no place."""

    code: str
    message: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """`class_name`: the strategy's class; None where there isn't exactly one."""

    class_name: str | None
    problems: tuple[Problem, ...]


def judge(code: str) -> Judged:
    """All that is wrong with the code, in the order of its lines."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        message = f"{error.msg or 'invalid syntax'}"
        return Judged(None, (Problem("SyntaxError", message, error.lineno, error.offset),))
    except (ValueError, RecursionError, MemoryError) as error:
        return Judged(None, (Problem("SyntaxError", f"can't be read as Python: {error}"),))
    problems = list(_import_problems(tree))
    strategies = _strategies(tree)
    name = None
    if len(strategies) == 1:
        name = strategies[0][0].name
        problems += _class_problems(strategies[0])
    elif not strategies:
        problems.append(
            Problem("NoStrategyClass", f"no class derives from {BASE}: class Mine({BASE}): ...")
        )
    else:
        named = ", ".join(chain[0].name for chain in strategies)
        second = strategies[1][0]
        problems.append(
            Problem(
                "SeveralStrategyClasses",
                f"more than one class derives from {BASE} ({named}): keep one in a strategy",
                second.lineno,
                second.col_offset + 1,
            )
        )
    return Judged(name, tuple(sorted(problems, key=_place)))


def _place(problem: Problem) -> tuple[bool, int]:
    return (problem.line is None, problem.line or 0)


def _import_problems(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        else:
            continue
        for module in modules:
            root = module.partition(".")[0]
            if root in ALLOWED_IMPORTS:
                continue
            if root == "aristobot":
                message = f"{BASE}, price and fraction are given: leave the import out"
            else:
                message = f"{module} can't be imported; a strategy has {_allowed()}"
            yield Problem("ForbiddenImport", message, node.lineno, node.col_offset + 1)


def _allowed() -> str:
    return ", ".join(sorted(ALLOWED_IMPORTS - {"__future__"}))


def _strategies(tree: ast.Module) -> list[list[ast.ClassDef]]:
    """Each class that derives from `Strategy` and that no other derives from, with its bases."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    chains = [chain for node in classes.values() if (chain := _chain(node, classes, frozenset()))]
    bases = {node.name for chain in chains for node in chain[1:]}
    return [chain for chain in chains if chain[0].name not in bases]


def _chain(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef], seen: frozenset[str]
) -> list[ast.ClassDef]:
    """The class and those of its bases on the way to `Strategy`; empty when it isn't reached."""
    for base in node.bases:
        if not isinstance(base, ast.Name):
            continue
        if base.id == BASE:
            return [node]
        above = classes.get(base.id)
        if above is not None and above.name not in seen:
            rest = _chain(above, classes, seen | {node.name})
            if rest:
                return [node, *rest]
    return []


def _class_problems(chain: list[ast.ClassDef]) -> Iterator[Problem]:
    methods: dict[str, ast.stmt] = {}
    for node in reversed(chain):
        for statement in node.body:
            methods.update((name, statement) for name in _names(statement))
    strategy = chain[0]
    for name in REQUIRED_METHODS:
        method = methods.get(name)
        if method is None:
            yield Problem(
                "MissingMethod",
                f"{strategy.name} has no {name}(self)",
                strategy.lineno,
                strategy.col_offset + 1,
            )
        else:
            yield from _method_problems(method, name, 0, "(self)")
    constructor = methods.get("__init__")
    if constructor is not None:
        yield from _method_problems(
            constructor,
            "__init__",
            CONSTRUCTOR_ARGUMENTS,
            "(self, candles, balance, position=None)",
        )


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _method_problems(method: ast.stmt, name: str, arguments: int, wanted: str) -> Iterator[Problem]:
    place = (method.lineno, method.col_offset + 1)
    if isinstance(method, ast.AsyncFunctionDef):
        yield Problem("WrongArguments", f"{name} must not be async: def {name}{wanted}", *place)
    # A decorator may change what it takes, and an assigned one can't be seen.
    if not isinstance(method, ast.FunctionDef) or method.decorator_list:
        return
    takes = method.args
    positional = [*takes.posonlyargs, *takes.args]
    required = len(positional) - len(takes.defaults)
    required_by_name = sum(default is None for default in takes.kw_defaults)
    given = arguments + 1  # self
    fits = required <= given and (takes.vararg is not None or len(positional) >= given)
    if not fits or required_by_name:
        yield Problem("WrongArguments", f"it must be def {name}{wanted}", *place)
