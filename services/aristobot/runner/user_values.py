"""Turns what a strategy's methods returned into plain text for the host, or says what is wrong.

Numbers cross as text, so that a float's shortest notation becomes the `Decimal` that its author
sees. What a number means is judged by the host (`core.levels`), not in here.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from typing import Any

import numpy as np

from aristobot.runner.strategy_api import Fraction, Price

#: Of a `Decimal`; a float's text is shorter.
_LONGEST_NUMBER = 60


class BadReturnValue(Exception):
    """A method returned something of the wrong kind."""


def yes_or_no(value: Any, method: str) -> bool:
    """True or False, Python's or numpy's. Nothing else: a forgotten return is None."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise BadReturnValue(f"{method}() returned {_described(value)}; return True or False")


def plain_size(value: Any) -> str:
    """The position's size in quote currency."""
    return _number(value, "calculate_position_size")


def plain_level(value: Any, method: str) -> dict[str, str | None] | None:
    """A stop or target, None for none."""
    if value is None:
        return None
    kind = None
    if isinstance(value, Price):
        kind = "price"
    elif isinstance(value, Fraction):
        kind = "fraction"
    return {"value": _number(value, method), "kind": kind}


def _number(value: Any, method: str) -> str:
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, Decimal):
        text = str(value)
        if len(text) <= _LONGEST_NUMBER:
            return text
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return repr(float(value))
    raise BadReturnValue(f"{method}() returned {_described(value)}; return a number")


def _described(value: Any) -> str:
    if value is None:
        return "None"
    text = " ".join(repr(value).split())
    shown = text if len(text) <= 60 else text[:60] + "..."
    return f"{shown} ({type(value).__name__})"
