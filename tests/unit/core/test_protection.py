"""Stops and targets: on the right side, on the tick, of no more than is held."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.protection import Aim, Cover, Uncovered, cover, holding
from aristobot.core.symbols import QuantityRule, SymbolRules

RULES = SymbolRules(
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    is_trading=True,
    limit=QuantityRule(Decimal("0.00001"), Decimal(9000), Decimal("0.00001")),
    market=QuantityRule(None, Decimal(100), None),
    price_tick=Decimal("0.01"),
    min_notional=Decimal(5),
    min_notional_for_market=True,
    max_notional=None,
    max_notional_for_market=False,
    quote_precision=8,
    market_by_quote=True,
)

prices = st.decimals("0.05", "1000000", places=8)
fractions = st.decimals("0.0001", "0.9", places=6)
amounts = st.decimals("0.00000001", "5000", places=8)


def fraction(text: str) -> Aim:
    return Aim(Decimal(text), is_fraction=True)


def price(text: str) -> Aim:
    return Aim(Decimal(text), is_fraction=False)


@pytest.mark.parametrize(
    ("stop", "target", "wanted"),
    [
        (fraction("0.02"), fraction("0.04"), ("48999.99", "52000.00")),
        (price("49000.005"), price("52000.001"), ("49000.00", "52000.01")),
        (price("49000"), None, ("49000", None)),
        (None, fraction("0.1"), (None, "55000.01")),
    ],
)
def test_levels_become_prices_on_the_tick(
    stop: Aim | None, target: Aim | None, wanted: tuple[str | None, str | None]
) -> None:
    entry = Decimal("49999.999") if stop and stop.is_fraction else Decimal("50000.001")
    found = cover(Decimal("0.0123456"), stop=stop, target=target, entry_price=entry, rules=RULES)
    assert isinstance(found, Cover)
    assert found.quantity == Decimal("0.01234")
    assert found.stop_price == (Decimal(wanted[0]) if wanted[0] else None)
    assert found.target_price == (Decimal(wanted[1]) if wanted[1] else None)


@pytest.mark.parametrize(
    ("held", "stop", "entry", "code"),
    [
        ("0", fraction("0.02"), "50000", "nothing_left"),
        ("1", None, "50000", "no_levels"),
        ("0.000009", fraction("0.02"), "50000", "dust"),
        ("0.00009", fraction("0.02"), "50000", "dust"),  # 4.50 USDT, and 5 is the least
        ("1", fraction("1"), "50000", "bad_level"),
        ("1", price("0.001"), "50000", "bad_level"),
        ("1", fraction("0.02"), None, "bad_level"),
    ],
)
def test_what_can_not_be_covered_says_why(
    held: str, stop: Aim | None, entry: str | None, code: str
) -> None:
    found = cover(
        Decimal(held),
        stop=stop,
        target=None,
        entry_price=Decimal(entry) if entry else None,
        rules=RULES,
    )
    assert isinstance(found, Uncovered)
    assert found.code == code
    assert found.reason


@given(amounts, prices, fractions, fractions)
def test_cover_is_on_both_sides_of_the_entry(
    held: Decimal, entry: Decimal, down: Decimal, up: Decimal
) -> None:
    found = cover(
        held,
        stop=Aim(down, is_fraction=True),
        target=Aim(up, is_fraction=True),
        entry_price=entry,
        rules=RULES,
    )
    if isinstance(found, Uncovered):
        assert found.code == "dust" or entry * (1 - down) < Decimal("0.01")
        return
    assert found.stop_price is not None
    assert found.target_price is not None
    assert 0 < found.stop_price < entry < found.target_price
    for level in (found.stop_price, found.target_price):
        assert level % Decimal("0.01") == 0
    # Not a whole tick further away than asked for.
    assert entry * (1 - down) - found.stop_price < Decimal("0.01")
    assert found.target_price - entry * (1 + up) < Decimal("0.01")
    assert found.quantity <= held < found.quantity + Decimal("0.00001")
    assert found.quantity % Decimal("0.00001") == 0
    assert found.quantity * entry >= 5


@given(amounts, amounts, st.lists(st.decimals("-10", "10", places=8), max_size=20))
def test_holding_follows_every_move_and_is_never_below_nothing(
    held: Decimal, before: Decimal, moves: list[Decimal]
) -> None:
    now = before + sum(moves, Decimal(0))
    found = holding(held, before, now)
    assert found == max(held + sum(moves, Decimal(0)), Decimal(0))
