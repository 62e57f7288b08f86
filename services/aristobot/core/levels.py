"""Reads the stop and the target that a strategy returned: a price, or a fraction of the price?

A strategy may return a bare number: 0.02 (2 % away) or 61250.5 (a price). A bare number is taken
only where one reading makes sense, and refused otherwise, because a stop in the wrong place costs
money and nobody would notice:

- as a fraction, it is at least 0.0005 (nearer, no trade earns its fees) and below 1, a stop's at
  most 0.9;
- as a price, it lies on the right side of the latest price, at most a factor of ten away.

`price(x)` and `fraction(x)` in the strategy say which is meant, and are held to the right side
alone. None is no stop or no target. 0 is refused: it could be meant as "none" or be a mistake.

Not here: rounding to the exchange's tick, and the fill's price, of which a fraction is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from aristobot.core.errors import Refused

_FARTHEST = Decimal(10)
_LARGEST_STOP_FRACTION = 1 - 1 / _FARTHEST
_SMALLEST_FRACTION = Decimal("0.0005")


class LevelKind(StrEnum):
    PRICE = "price"
    FRACTION = "fraction"


class LevelUse(StrEnum):
    """Which level. The position is long, so its stop is below the price and its target above."""

    STOP = "stop loss"
    TARGET = "take profit"


class BadLevel(Refused):
    """A stop or target that can't be taken; `code`: bad_level or ambiguous_level."""


@dataclass(frozen=True, slots=True)
class ReturnedLevel:
    """What a strategy returned: `kind` None for a bare number."""

    value: Decimal
    kind: LevelKind | None = None


@dataclass(frozen=True, slots=True)
class ReadLevel:
    """What it means. `value` is positive and finite."""

    kind: LevelKind
    value: Decimal


def read_level(
    returned: ReturnedLevel | None, use: LevelUse, latest_price: Decimal
) -> ReadLevel | None:
    """The level that is meant, None for none.

    `latest_price`: the close of the candle that was decided on; positive. Raises `BadLevel`
    with a sentence for the strategy's author.
    """
    if returned is None:
        return None
    value = returned.value
    if not value.is_finite():
        raise _bad(use, f"is {_not_finite(value)}; return a number, or None for no {use}")
    if value <= 0:
        raise _bad(
            use, f"is {_plain(value)}; return a number above 0, or None if there is to be no {use}"
        )
    if returned.kind is not None:
        _check_said(returned.kind, value, use, latest_price)
        return ReadLevel(returned.kind, value)
    return _read_bare(value, use, latest_price)


def _check_said(kind: LevelKind, value: Decimal, use: LevelUse, latest_price: Decimal) -> None:
    if kind is LevelKind.FRACTION:
        if use is LevelUse.STOP and value >= 1:
            raise _bad(use, f"is fraction({_plain(value)}): a stop below 0; 2 % is fraction(0.02)")
        return
    is_below = value < latest_price
    if value == latest_price or is_below is not (use is LevelUse.STOP):
        side = "below" if use is LevelUse.STOP else "above"
        raise _bad(
            use,
            f"is the price {_plain(value)}, which is not {side} the latest price, "
            f"{_plain(latest_price)}",
        )


def _read_bare(value: Decimal, use: LevelUse, latest_price: Decimal) -> ReadLevel:
    if use is LevelUse.STOP:
        may_be_fraction = _SMALLEST_FRACTION <= value <= _LARGEST_STOP_FRACTION
        may_be_price = latest_price / _FARTHEST <= value < latest_price
    else:
        may_be_fraction = _SMALLEST_FRACTION <= value < 1
        may_be_price = latest_price < value <= latest_price * _FARTHEST
    number = _plain(value)
    if may_be_fraction and may_be_price:
        raise BadLevel(
            "ambiguous_level",
            f"the {use} {number} may be a price or a fraction of the latest price, "
            f"{_plain(latest_price)}: return price({number}) or fraction({number})",
        )
    if may_be_fraction:
        return ReadLevel(LevelKind.FRACTION, value)
    if may_be_price:
        return ReadLevel(LevelKind.PRICE, value)
    side = "below" if use is LevelUse.STOP else "above"
    raise _bad(
        use,
        f"is {number}, which is neither a fraction (0.02 for 2 %) nor a price {side} and near the "
        f"latest one, {_plain(latest_price)}; to mean it all the same, return price({number}) or "
        f"fraction({number})",
    )


def _bad(use: LevelUse, rest: str) -> BadLevel:
    return BadLevel("bad_level", f"the {use} {rest}")


def _not_finite(value: Decimal) -> str:
    return "not a number (NaN)" if value.is_nan() else "infinite"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
