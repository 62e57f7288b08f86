"""Sizing: always within the pair's rules and what is free, or refused with the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.errors import Refused
from aristobot.core.sizing import (
    Sized,
    size_limit_buy,
    size_limit_sell,
    size_market_buy,
    size_market_sell,
)
from aristobot.core.symbols import QuantityRule, SymbolRules

D = Decimal
BTC = SymbolRules(
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    is_trading=True,
    limit=QuantityRule(D("0.00001"), D(9000), D("0.00001")),
    market=QuantityRule(D("0.00001"), D(100), D("0.00001")),
    price_tick=D("0.01"),
    min_notional=D(5),
    min_notional_for_market=True,
    max_notional=D(9_000_000),
    max_notional_for_market=False,
    quote_precision=8,
    market_by_quote=True,
)
BY_QUANTITY = replace(BTC, market_by_quote=False)
Size = Callable[..., Sized]
ALL: list[tuple[Size, SymbolRules]] = [
    (size_market_buy, BTC),
    (size_market_buy, BY_QUANTITY),
    (size_market_sell, BTC),
    (size_limit_buy, BTC),
    (size_limit_sell, BTC),
]


def test_market_buy_by_quote() -> None:
    sized = size_market_buy(BTC, D(10_000), D("33.3333333333"), D(91_000))
    assert sized == Sized(None, D("3333.33333333"), None, D("3333.33333333"))
    coarse = replace(BTC, quote_precision=2)
    assert size_market_buy(coarse, D("99.999"), D(100), D(91_000)).quote_quantity == D("99.99")


def test_market_buy_by_quantity() -> None:
    sized = size_market_buy(BY_QUANTITY, D(10_000), D(50), D("91912.34"))
    assert sized == Sized(D("0.05439"), None, None, D("0.05439") * D("91912.34"))


def test_market_sell() -> None:
    assert size_market_sell(BTC, D("0.123456789"), D(50), D(91_000)).quantity == D("0.06172")
    assert size_market_sell(BTC, D("0.123456789"), D(100), D(91_000)).quantity == D("0.12345")


def test_limit_prices_go_to_the_tick_in_the_users_favour() -> None:
    assert size_limit_buy(BTC, D(10_000), D(50), D("91000.019")).price == D("91000.01")
    assert size_limit_sell(BTC, D(1), D(50), D("91000.011")).price == D("91000.02")
    assert size_limit_sell(BTC, D(1), D(50), D("91000.01")).price == D("91000.01")


def test_limit_buy_is_for_the_rounded_price() -> None:
    # At 0.019 only 5,263 fit into 100 USDT; at the tick's 0.01 the same money buys 10,000.
    rules = replace(BTC, limit=QuantityRule(None, None, D(1)))
    assert size_limit_buy(rules, D(100), D(100), D("0.019")).quantity == D(10_000)


def test_any_precision_still_ends_at_eight_decimals() -> None:
    rules = replace(BTC, market=QuantityRule())
    assert size_market_sell(rules, D(1), D("33.33333333333"), D(91_000)).quantity == D("0.33333333")


@pytest.mark.parametrize(
    ("size", "rules", "free", "percent", "price", "code", "says"),
    [
        (size_market_buy, replace(BTC, is_trading=False), 1, 1, 1, "not_trading", "BTCUSDT"),
        (size_market_buy, BTC, 0, 50, 91_000, "nothing_free", "no USDT is free to spend"),
        (size_limit_buy, BTC, -1, 50, 91_000, "nothing_free", "USDT"),
        (size_market_sell, BTC, 0, 50, 91_000, "nothing_held", "no BTC is free to sell"),
        (size_limit_sell, BTC, 0, 50, 91_000, "nothing_held", "BTC"),
        (size_market_buy, BTC, 100, 0, 91_000, "bad_percent", "0 %"),
        (size_market_buy, BTC, 100, "100.1", 91_000, "bad_percent", "100.1"),
        (size_market_sell, BTC, 100, -1, 91_000, "bad_percent", "-1"),
        (size_market_buy, BTC, 100, 50, 0, "bad_price", "0 is not a price"),
        (size_limit_buy, BTC, 100, 50, "0.009", "bad_price", "0.01"),
        (size_market_buy, BTC, 100, "4.9", 91_000, "too_small", "worth 4.9 USDT; the exchange"),
        (size_market_sell, BTC, "0.000019", 50, 91_000, "too_small", "at least 0.00001 BTC"),
        (size_limit_sell, BTC, "0.00002", 100, 91_000, "too_small", "1.82 USDT"),
        (size_market_buy, BTC, 9_999_999, 100, 100, "too_large", "at most 100 BTC"),
        (size_market_sell, BTC, 101, 100, 91_000, "too_large", "comes to 101 BTC"),
        (size_limit_buy, BTC, 9_999_999, 100, 91_000, "too_large", "at most 9000000"),
    ],
)
def test_is_refused(
    size: Size,
    rules: SymbolRules,
    free: str | int,
    percent: str | int,
    price: str | int,
    code: str,
    says: str,
) -> None:
    with pytest.raises(Refused) as caught:
        size(rules, D(free), D(percent), D(price))
    assert caught.value.code == code
    assert says in str(caught.value)


def test_notional_bounds_of_market_orders_may_be_off() -> None:
    rules = replace(BTC, min_notional_for_market=False)
    assert size_market_buy(rules, D(100), D(1), D(91_000)).quote_quantity == 1
    with pytest.raises(Refused):
        size_limit_buy(rules, D(100), D(1), D(91_000))
    # 90 BTC are worth 18 million: beyond the bound that only limit orders have.
    assert size_market_sell(BTC, D(90), D(100), D(200_000)).quantity == 90
    with pytest.raises(Refused):
        size_limit_sell(BTC, D(90), D(100), D(200_000))


def test_the_bounds_themselves_are_allowed() -> None:
    assert size_market_sell(BTC, D(100), D(100), D(91_000)).quantity == BTC.market.maximum
    assert size_market_buy(BTC, D(5), D(100), D(91_000)).quote_quantity == BTC.min_notional
    assert size_limit_sell(BTC, D(100), D(100), D(90_000)).notional == BTC.max_notional


@pytest.mark.parametrize(("size", "rules"), ALL)
def test_the_brokers_own_limit(size: Size, rules: SymbolRules) -> None:
    free = D(1_000) if "buy" in size.__name__ else D(1)
    assert size(rules, free, D(10), D(1_000), max_notional=D(100)).notional <= 100
    with pytest.raises(Refused, match="this broker's limit is 100") as caught:
        size(rules, free, D(11), D(1_000), max_notional=D(100))
    assert caught.value.code == "above_limit"


_STEPS = st.sampled_from(["1", "0.1", "0.01", "0.00001", "0.00000001", "10", "0.5", "0.0025"])
_AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=8)
_PRICES = st.decimals(min_value=D("0.00000001"), max_value=10**7, places=8)
_PERCENTS = st.decimals(min_value=D("0.0001"), max_value=100, places=10)


@st.composite
def _rules(draw: st.DrawFn) -> SymbolRules:
    def bounds() -> QuantityRule:
        step = draw(st.none() | _STEPS.map(D))
        least = draw(st.none() | st.decimals(min_value=0, max_value=10, places=4))
        most = draw(st.none() | st.decimals(min_value=10, max_value=10**8, places=2))
        return QuantityRule(least, most, step)

    return SymbolRules(
        symbol="ABCXYZ",
        base="ABC",
        quote="XYZ",
        is_trading=True,
        limit=bounds(),
        market=bounds(),
        price_tick=draw(st.none() | _STEPS.map(D)),
        min_notional=draw(st.none() | st.decimals(min_value=0, max_value=20, places=2)),
        min_notional_for_market=draw(st.booleans()),
        max_notional=draw(st.none() | st.decimals(min_value=20, max_value=10**9, places=2)),
        max_notional_for_market=draw(st.booleans()),
        quote_precision=draw(st.integers(0, 8)),
        market_by_quote=draw(st.booleans()),
    )


def _or_none(size: Size, *args: object, **limits: object) -> Sized | None:
    try:
        return size(*args, **limits)
    except Refused:
        return None


_SIZES = st.sampled_from([size_market_buy, size_market_sell, size_limit_buy, size_limit_sell])


@given(_SIZES, _rules(), _AMOUNTS, _PERCENTS, _PRICES)
def test_within_every_bound(
    size: Size, rules: SymbolRules, free: Decimal, percent: Decimal, price: Decimal
) -> None:
    sized = _or_none(size, rules, free, percent, price)
    if sized is None:
        return
    is_market = size in (size_market_buy, size_market_sell)
    bounds = rules.market if is_market else rules.limit
    assert (sized.quantity is None) != (sized.quote_quantity is None)
    assert (sized.price is None) == is_market
    if sized.quantity is not None:
        assert sized.quantity > 0
        assert sized.quantity % (bounds.step or D("0.00000001")) == 0
        assert bounds.minimum is None or sized.quantity >= bounds.minimum
        assert bounds.maximum is None or sized.quantity <= bounds.maximum
        cost = sized.quantity * (sized.price or price) if "buy" in size.__name__ else sized.quantity
        assert cost * 100 <= free * percent
        assert sized.notional == sized.quantity * (sized.price or price)
    if sized.quote_quantity is not None:
        assert sized.quote_quantity * 100 <= free * percent
        assert -int(sized.quote_quantity.normalize().as_tuple().exponent) <= rules.quote_precision
    if sized.price is not None:
        tick = rules.price_tick or D("0.00000001")
        assert sized.price % tick == 0
        assert -tick < sized.price - price < tick
        assert sized.price <= price if "buy" in size.__name__ else sized.price >= price
    if rules.min_notional is not None and (rules.min_notional_for_market or not is_market):
        assert sized.notional >= rules.min_notional
    if rules.max_notional is not None and (rules.max_notional_for_market or not is_market):
        assert sized.notional <= rules.max_notional


@given(_SIZES, _rules(), _AMOUNTS, st.lists(_PERCENTS, min_size=2, max_size=5), _PRICES)
def test_more_percent_is_never_less(
    size: Size, rules: SymbolRules, free: Decimal, percents: list[Decimal], price: Decimal
) -> None:
    results = [_or_none(size, rules, free, percent, price) for percent in sorted(percents)]
    amounts = [
        sized.quantity if sized.quantity is not None else sized.quote_quantity or D(0)
        for sized in results
        if sized is not None
    ]
    assert all(less <= more for less, more in pairwise(amounts))


@given(_SIZES, _AMOUNTS, _PERCENTS, _PRICES)
def test_the_callers_decimal_context_does_not_matter(
    size: Size, free: Decimal, percent: Decimal, price: Decimal
) -> None:
    with localcontext(Context(prec=5)):
        narrow = _or_none(size, BTC, free, percent, price)
    assert narrow == _or_none(size, BTC, free, percent, price)
