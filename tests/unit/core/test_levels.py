"""A stop or target is read in the one way that makes sense, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.levels import (
    BadLevel,
    LevelKind,
    LevelUse,
    ReadLevel,
    ReturnedLevel,
    read_level,
)

FRACTION, PRICE = LevelKind.FRACTION, LevelKind.PRICE
STOP, TARGET = LevelUse.STOP, LevelUse.TARGET

prices = st.decimals("0.00000001", "1000000", places=8)
numbers = st.decimals("-1000", "1000000", places=8) | st.sampled_from(
    [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal(0)]
)


def _read(
    value: str, use: LevelUse, price: str, kind: LevelKind | None = None
) -> tuple[LevelKind, Decimal] | None:
    read = read_level(ReturnedLevel(Decimal(value), kind), use, Decimal(price))
    return read and (read.kind, read.value)


def test_none_is_no_level() -> None:
    assert read_level(None, STOP, Decimal(100)) is None


@pytest.mark.parametrize(
    ("value", "use", "price", "kind"),
    [
        ("0.02", STOP, "60000", FRACTION),
        ("0.04", TARGET, "60000", FRACTION),
        ("58800", STOP, "60000", PRICE),
        ("62400", TARGET, "60000", PRICE),
        ("0.02", STOP, "2.5", FRACTION),
        ("0.05", STOP, "0.6", FRACTION),
        ("2.4", STOP, "2.5", PRICE),
        ("5", TARGET, "2.5", PRICE),
        ("0.95", STOP, "1.02", PRICE),
        ("0.000011", STOP, "0.000012", PRICE),
        ("0.04", TARGET, "0.6", FRACTION),
        ("0.04", TARGET, "0.000012", FRACTION),
    ],
)
def test_a_bare_number_with_one_meaning_is_taken(
    value: str, use: LevelUse, price: str, kind: LevelKind
) -> None:
    assert _read(value, use, price) == (kind, Decimal(value))


@pytest.mark.parametrize(
    ("value", "use", "price"),
    [
        ("0.02", STOP, "0.15"),
        ("0.02", STOP, "0.021"),
        ("0.04", TARGET, "0.03"),
        ("0.5", STOP, "0.9"),
        ("0.0011", STOP, "0.0012"),
        ("0.9", TARGET, "0.5"),
    ],
)
def test_a_bare_number_with_two_meanings_is_refused_and_both_can_be_said(
    value: str, use: LevelUse, price: str
) -> None:
    with pytest.raises(BadLevel) as caught:
        _read(value, use, price)
    assert caught.value.code == "ambiguous_level"
    assert f"price({value})" in str(caught.value)
    assert f"fraction({value})" in str(caught.value)
    for kind in LevelKind:
        assert _read(value, use, price, kind) == (kind, Decimal(value))


@pytest.mark.parametrize(
    ("value", "use", "kind", "told"),
    [
        ("NaN", STOP, None, "not a number"),
        ("Infinity", TARGET, None, "infinite"),
        ("-0.02", STOP, None, "above 0"),
        ("0", STOP, None, "None"),
        ("0", TARGET, PRICE, "None"),
        ("2", STOP, None, "neither a fraction"),  # 2 % meant: a price of 2 at 100 is no stop
        ("4", TARGET, None, "neither a fraction"),
        ("101", STOP, None, "neither"),
        ("99", TARGET, None, "neither"),
        ("100", STOP, None, "neither"),
        ("5000", TARGET, None, "neither"),
        ("0.95", STOP, None, "neither"),
        ("0.0004", STOP, None, "neither"),
        ("101", STOP, PRICE, "not below the latest price, 100"),
        ("100", STOP, PRICE, "not below"),
        ("99", TARGET, PRICE, "not above"),
        ("1", STOP, FRACTION, "fraction(0.02)"),
        ("2", STOP, FRACTION, "fraction(0.02)"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_reason(
    value: str, use: LevelUse, kind: LevelKind | None, told: str
) -> None:
    with pytest.raises(BadLevel, match=r"^the (stop loss|take profit) is ") as caught:
        _read(value, use, "100", kind)
    assert caught.value.code == "bad_level"
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("value", "use", "kind"),
    [
        ("5", STOP, PRICE),
        ("5000", TARGET, PRICE),
        ("2", TARGET, FRACTION),
        ("0.95", STOP, FRACTION),
    ],
)
def test_what_is_said_is_taken_however_far(value: str, use: LevelUse, kind: LevelKind) -> None:
    assert _read(value, use, "100", kind) == (kind, Decimal(value))


def _level_price(read: ReadLevel, use: LevelUse, price: Decimal) -> Decimal:
    if read.kind is PRICE:
        return read.value
    return price * (1 - read.value) if use is STOP else price * (1 + read.value)


@given(numbers, st.sampled_from(LevelUse), prices, st.sampled_from([None, *LevelKind]))
def test_every_level_is_on_its_side_of_the_price(
    value: Decimal, use: LevelUse, price: Decimal, kind: LevelKind | None
) -> None:
    try:
        read = read_level(ReturnedLevel(value, kind), use, price)
    except BadLevel:
        return
    assert read is not None
    assert read.value == value
    assert kind in {None, read.kind}
    level = _level_price(read, use, price)
    assert 0 < level < price if use is STOP else level > price


@given(numbers, st.sampled_from(LevelUse), prices)
def test_a_bare_number_is_never_taken_when_it_has_another_meaning(
    value: Decimal, use: LevelUse, price: Decimal
) -> None:
    """The other reading is on the wrong side, a factor of ten away, or no fraction for trading."""
    try:
        read = read_level(ReturnedLevel(value), use, price)
    except BadLevel:
        return
    assert read is not None
    other = ReadLevel(FRACTION if read.kind is PRICE else PRICE, value)
    level = _level_price(other, use, price)
    if other.kind is FRACTION and value < Decimal("0.0005"):
        return
    if use is STOP:
        assert not price / 10 <= level < price
    else:
        assert not price < level <= price * 10 or value >= 1
