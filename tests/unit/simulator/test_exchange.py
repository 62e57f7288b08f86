"""The engine: money is conserved, balances never go negative, a replay is the state."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aristobot.core.errors import Misconfigured
from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.accounts import Account
from aristobot.simulator.clock import Clock
from aristobot.simulator.market import Market
from aristobot.simulator.matching import Exchange
from aristobot.simulator.orders import (
    FillPlan,
    Kind,
    Lifetime,
    ListRequest,
    Order,
    OrderRequest,
    Refusal,
    Refused,
    Trigger,
)
from aristobot.simulator.pairs import PAIRS
from aristobot.simulator.settings import SimulatorSettings

D = Decimal
START = {"USDT": D(10_000), "BTC": D("0.1"), "DOGE": D(5_000)}


class StillClock(Clock):
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms + self.skew_ms

    def machine_ms(self) -> int:
        return self.ms


def _exchange(folder: Path | None = None, clock: Clock | None = None) -> Exchange:
    return Exchange(SimulatorSettings(data_dir=folder, seed=3), clock or StillClock())


def _account(exchange: Exchange) -> Account:
    return exchange.put_account("k", "s", START, reset=False)[0]


def _state(exchange: Exchange) -> list[Any]:
    return list(exchange.book.snapshot())


_SYMBOL = st.sampled_from(["BTCUSDT", "DOGEUSDT"])
_STEP = st.one_of(
    st.tuples(
        st.just("place"),
        _SYMBOL,
        st.sampled_from(Side),
        st.sampled_from(Kind),
        st.sampled_from(Lifetime),
        st.integers(1, 3_000),  # worth in quote units
        st.integers(-100, 100),  # price, in tenths of a percent away from the market
        st.sampled_from(["plain", "by_quote", "late", "partial", "partial_expires"]),
    ),
    st.tuples(
        st.just("wait"),
        _SYMBOL,
        st.sampled_from(Side),
        st.sampled_from(Trigger),
        st.sampled_from([Kind.MARKET, Kind.LIMIT]),
        st.sampled_from(Lifetime),
        st.integers(1, 3_000),
        st.tuples(st.integers(-60, 60), st.integers(-60, 60)),  # stop price and price, as above
        st.sampled_from(["plain", "late", "partial", "partial_expires"]),
    ),
    st.tuples(
        st.just("pair"),
        _SYMBOL,
        st.sampled_from(Side),
        st.sampled_from([Kind.POST_ONLY, Kind.MARKET, Kind.LIMIT]),  # what the target is
        st.integers(1, 3_000),
        st.tuples(st.integers(1, 60), st.integers(1, 60)),  # how far off stop and target are
        st.sampled_from(["plain", "late", "partial", "partial_expires"]),
    ),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("price"), _SYMBOL, st.integers(-100, 100)),
    st.tuples(st.just("ticks"), st.integers(1, 5), st.sampled_from([700, 61_000])),
)
_PLANS = {
    "late": FillPlan(D(0), 2),
    "partial": FillPlan(D("0.4"), 2),
    "partial_expires": FillPlan(D("0.4"), 2, rest_expires=True),
}


def _place_or_not(exchange: Exchange, place: Callable[[], object]) -> None:
    before = _state(exchange)
    try:
        place()
    except Refused:
        assert _state(exchange) == before


def _waiting(
    exchange: Exchange, symbol: str, side: Side, trigger: Trigger | None, kind: Kind,
    lifetime: Lifetime, worth: int, stop: int, limit: int, *, client_id: str | None = None,
) -> OrderRequest:  # fmt: skip
    """A conditional order (or a post-only one) that far off the market, in tenths of a percent."""
    pair, last = PAIRS[symbol], exchange.market.pairs[symbol].price

    def at(offset: int) -> Decimal:
        return last * (1000 + offset) / 1000 // pair.tick * pair.tick

    return OrderRequest(
        symbol=symbol,
        side=side,
        kind=kind,
        client_id=client_id or f"w{exchange.book.next_order_id % 7}",
        lifetime=lifetime if kind is Kind.LIMIT else Lifetime.GOOD_TILL_CANCELLED,
        price=None if kind is Kind.MARKET else at(limit),
        quantity=D(worth) / last // pair.quantity_step * pair.quantity_step,
        trigger=trigger,
        stop_price=None if trigger is None else at(stop),
    )


def _run(exchange: Exchange, step: tuple[Any, ...], clock: StillClock) -> None:
    account = exchange.book.accounts["k"]
    match step:
        case ("place", symbol, side, kind, lifetime, worth, offset, how):
            pair, market = PAIRS[symbol], exchange.market.pairs[symbol]
            price = market.price * (1000 + offset) / 1000
            price = (price // pair.tick) * pair.tick
            quantity = D(worth) / price // pair.quantity_step * pair.quantity_step
            by_quote = how == "by_quote" and kind is Kind.MARKET
            request = OrderRequest(
                symbol=symbol,
                side=side,
                kind=kind,
                client_id=f"c{exchange.book.next_order_id % 7}",
                lifetime=lifetime if kind is Kind.LIMIT else Lifetime.GOOD_TILL_CANCELLED,
                price=None if kind is Kind.MARKET else price,
                quantity=None if by_quote else quantity,
                quote_quantity=D(worth) if by_quote else None,
            )
            _place_or_not(exchange, lambda: exchange.place(account, request, _PLANS.get(how)))
        case ("wait", symbol, side, trigger, kind, lifetime, worth, (stop, limit), how):
            request = _waiting(exchange, symbol, side, trigger, kind, lifetime, worth, stop, limit)
            _place_or_not(exchange, lambda: exchange.place(account, request, _PLANS.get(how)))
        case ("pair", symbol, side, kind, worth, (stop, target), how):
            sign = 1 if side is Side.SELL else -1
            legs = [
                _waiting(
                    exchange, symbol, side, trigger, leg_kind, Lifetime.GOOD_TILL_CANCELLED,
                    worth, offset, offset, client_id=f"{name}{exchange.book.next_list_id % 5}",
                )
                for name, trigger, leg_kind, offset in (
                    ("s", Trigger.STOP, Kind.MARKET, -sign * stop),
                    ("t", Trigger.TARGET if kind is not Kind.POST_ONLY else None, kind,
                     sign * target),
                )
            ]  # fmt: skip
            legs[1] = replace(legs[1], quantity=legs[0].quantity)
            pair = ListRequest(f"l{exchange.book.next_list_id % 5}", legs[0], legs[1])
            _place_or_not(exchange, lambda: exchange.place_list(account, pair, _PLANS.get(how)))
        case ("cancel", index):
            orders = list(exchange.book.orders.values())
            if index < len(orders):
                if orders[index].is_open:
                    exchange.cancel([orders[index]], "cancel-id")
                else:
                    with pytest.raises(Refused):
                        exchange.cancel([orders[index]], "cancel-id")
        case ("price", symbol, offset):
            pair, market = PAIRS[symbol], exchange.market.pairs[symbol]
            moved = market.price * (1000 + offset) / 1000 // pair.tick * pair.tick
            exchange.set_price(pair, max(moved, pair.tick * 2), freeze=None)
        case ("ticks", count, milliseconds):
            for _ in range(count):
                clock.ms += milliseconds
                exchange.tick()


def _check_money(exchange: Exchange, start: dict[str, Decimal]) -> None:
    """Balances are what the fills make of the start, and what is locked is what orders hold."""
    account = exchange.book.accounts["k"]
    expected = {asset: start.get(asset, D(0)) for asset in ("USDT", "BTC", "DOGE")}
    locked: dict[str, Decimal] = dict.fromkeys(expected, D(0))
    for orders in account.orders.values():
        for order in orders:
            _check_order(order, locked)
            for trade in order.trades:
                sign = 1 if order.side is Side.BUY else -1
                expected[order.pair.base] += sign * trade.quantity
                expected[order.pair.quote] -= sign * trade.quote
                expected[trade.fee_asset] -= trade.fee
    _check_lists(account, locked)
    for asset, total in expected.items():
        balance = account.balance(asset)
        assert balance.free >= 0
        assert balance.locked == locked[asset]
        assert balance.free + balance.locked == total
        assert total.as_tuple().exponent >= -8  # type: ignore[operator]


def _check_lists(account: Account, locked: dict[str, Decimal]) -> None:
    for known in account.lists.values():
        legs = [account.latest_by_client_id[known.pair.symbol, cid] for _, cid in known.legs]
        if [leg.id for leg in legs] != [order_id for order_id, _ in known.legs]:
            continue  # the client ids were used again, so it is long done
        assert (known.id in account.open_lists) == known.is_open
        if known.is_open:
            assert all(leg.is_open and leg.locked == leg.executed == 0 for leg in legs)
            assert known.locked > 0
        else:
            assert known.locked == 0
            assert sum(leg.is_open or leg.executed > 0 for leg in legs) <= 1
        locked[known.spent_asset] += known.locked


def _check_order(order: Order, locked: dict[str, Decimal]) -> None:
    assert order.executed == sum((t.quantity for t in order.trades), D(0))
    assert order.executed_quote == sum((t.quote for t in order.trades), D(0))
    assert order.locked >= 0
    assert order.is_open or order.locked == 0
    assert (order.status is OrderStatus.FILLED) == (order.executed == order.quantity)
    assert (order.id in order.account.open_orders.get(order.pair.symbol, {})) == order.is_open
    locked[order.spent_asset] += order.locked


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_STEP, max_size=40))
def test_money_is_conserved_and_replay_is_the_state(steps: list[tuple[Any, ...]]) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        # Thousands of invented candles would only make the files longer and the test slower.
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(Market, "invent_past", lambda self: None)
        clock = StillClock()
        exchange = _exchange(Path(name), clock)
        _account(exchange)
        for step in steps:
            _run(exchange, step, clock)
            _check_money(exchange, START)
        state = _state(exchange)
        candles = list(exchange.market.pairs["BTCUSDT"].candles.minutes)
        exchange._journal.close()  # as a killed process leaves it: nothing more is written
        for _ in range(2):  # once from the journal, once from the snapshot made of it
            again = _exchange(Path(name), clock)
            assert _state(again) == state
            assert list(again.market.pairs["BTCUSDT"].candles.minutes) == candles
            _check_money(again, START)
            again.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = _exchange()
    _account(exchange)
    exchange.set_price(PAIRS["BTCUSDT"], D(100_000), freeze=True)
    yield exchange
    exchange.close()


def _request(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT", "side": Side.BUY, "kind": Kind.LIMIT, "client_id": "c",
        "price": D(90_000), "quantity": D("0.01"),
    }  # fmt: skip
    return OrderRequest(**{**fields, **changes})


def test_a_resting_order_fills_as_maker_at_its_price_when_the_walk_reaches_it(
    exchange: Exchange,
) -> None:
    account = exchange.book.accounts["k"]
    order = exchange.place(account, _request())
    assert (order.status, account.balance("USDT").locked) == (OrderStatus.NEW, D(900))
    exchange.set_price(PAIRS["BTCUSDT"], D(90_000), freeze=True)
    assert order.status is OrderStatus.NEW  # the ask is still above
    exchange.set_price(PAIRS["BTCUSDT"], D(89_900), freeze=True)
    assert order.status is OrderStatus.FILLED
    (trade,) = order.trades
    assert (trade.price, trade.is_maker, trade.fee) == (D(90_000), True, D("0.00001"))
    assert account.free("USDT") == D(9_100)
    assert account.free("BTC") == D("0.10999")


@pytest.mark.parametrize(
    ("lifetime", "price", "status"),
    [
        (Lifetime.IMMEDIATE_OR_CANCEL, 90_000, OrderStatus.EXPIRED),
        (Lifetime.FILL_OR_KILL, 90_000, OrderStatus.EXPIRED),
        (Lifetime.IMMEDIATE_OR_CANCEL, 101_000, OrderStatus.FILLED),
        (Lifetime.FILL_OR_KILL, 101_000, OrderStatus.FILLED),
        (Lifetime.GOOD_TILL_CANCELLED, 101_000, OrderStatus.FILLED),
    ],
)
def test_lifetimes(exchange: Exchange, lifetime: Lifetime, price: int, status: OrderStatus) -> None:
    account = exchange.book.accounts["k"]
    order = exchange.place(account, _request(lifetime=lifetime, price=D(price)))
    assert order.status is status
    assert account.balance("USDT").locked == 0
    if status is OrderStatus.FILLED:
        assert order.trades[0].price == exchange.market.quote("BTCUSDT").ask


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"price": D("90000.001")}, Refusal.PRICE_STEP),
        ({"price": D(10_000)}, Refusal.PRICE_BAND),
        ({"price": D(600_000)}, Refusal.PRICE_BAND),
        ({"quantity": D("0.000001")}, Refusal.QUANTITY),
        ({"quantity": D("0.0000100001")}, Refusal.QUANTITY),
        ({"quantity": D("0.00005")}, Refusal.NOTIONAL),
        ({"kind": Kind.MARKET, "price": None, "quantity": D(121)}, Refusal.MARKET_QUANTITY),
        ({"kind": Kind.MARKET, "price": None, "quantity": D("0.00004")}, Refusal.NOTIONAL),
        ({"quantity": D(1)}, Refusal.INSUFFICIENT_BALANCE),
        ({"kind": Kind.POST_ONLY, "price": D(101_000)}, Refusal.WOULD_MATCH),
    ],
)
def test_refusals_change_nothing(
    exchange: Exchange, changes: dict[str, Any], refusal: Refusal
) -> None:
    before = _state(exchange)
    with pytest.raises(Refused) as refused:
        exchange.place(exchange.book.accounts["k"], _request(**changes))
    assert refused.value.refusal is refusal
    assert _state(exchange) == before


def test_a_client_id_is_unique_among_open_orders_only(exchange: Exchange) -> None:
    account = exchange.book.accounts["k"]
    first = exchange.place(account, _request())
    with pytest.raises(Refused) as refused:
        exchange.place(account, _request(symbol="DOGEUSDT", price=D("0.1"), quantity=D(100)))
    assert refused.value.refusal is Refusal.DUPLICATE_CLIENT_ID
    exchange.cancel([first])
    second = exchange.place(account, _request())
    assert account.latest_by_client_id["BTCUSDT", "c"] is second


def test_the_number_of_open_orders_is_bounded(exchange: Exchange) -> None:
    account = exchange.book.accounts["k"]
    for number in range(200):
        exchange.place(account, _request(client_id=f"n{number}", quantity=D("0.0001")))
    with pytest.raises(Refused) as refused:
        exchange.place(account, _request(client_id="one-more", quantity=D("0.0001")))
    assert refused.value.refusal is Refusal.OPEN_ORDERS


def test_the_same_seed_gives_the_same_walk() -> None:
    def walk(seed: int) -> list[Decimal]:
        clock = StillClock()
        exchange = Exchange(SimulatorSettings(seed=seed), clock)
        prices = []
        for _ in range(200):
            clock.ms += 500
            exchange.tick()
            prices += [exchange.market.quote(symbol).last for symbol in PAIRS]
        return prices

    first = walk(1)
    assert first == walk(1)
    assert first != walk(2)
    assert all(len(set(first[i :: len(PAIRS)])) > 2 for i in range(len(PAIRS)))


def test_a_reset_cancels_orders_and_sets_balances(exchange: Exchange) -> None:
    account = exchange.book.accounts["k"]
    order = exchange.place(account, _request())
    exchange.put_account("k", "other", {"USDT": D(5)}, reset=False)
    assert account.balance("USDT").locked == 900
    exchange.put_account("k", "other", {"USDT": D(5)}, reset=True)
    assert order.status is OrderStatus.CANCELLED
    assert account.secret == b"other"
    assert {a: b.free for a, b in account.balances.items() if b.free} == {"USDT": D(5)}
    assert account.balance("USDT").locked == 0


def test_a_torn_last_line_is_cut_and_damage_elsewhere_is_told(tmp_path: Path) -> None:
    exchange = _exchange(tmp_path)
    account = _account(exchange)
    exchange.place(account, _request())
    state = _state(exchange)
    exchange._journal.close()
    (journal,) = tmp_path.glob("journal-*.jsonl")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'[["order",2,"k","BTC')
    again = _exchange(tmp_path)
    assert _state(again) == state
    again.place(again.book.accounts["k"], _request(client_id="d"))
    again.close()
    (journal,) = tmp_path.glob("journal-*.jsonl")
    journal.write_bytes(b'[["order",2\n' + journal.read_bytes())
    with pytest.raises(Misconfigured, match=r"journal-\d+\.jsonl is damaged at line 1"):
        _exchange(tmp_path)
    journal.write_bytes(b'[["fill",99,1,"1","1","1","1",1,true]]\n')
    with pytest.raises(Misconfigured, match="does not fit"):
        _exchange(tmp_path)


def test_two_simulators_cannot_share_a_folder(tmp_path: Path) -> None:
    exchange = _exchange(tmp_path)
    with pytest.raises(Misconfigured, match="Another simulator is using"):
        _exchange(tmp_path)
    exchange.close()
    _exchange(tmp_path).close()


def test_what_cannot_be_kept_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = _exchange(tmp_path)
    account = _account(exchange)
    before = _state(exchange)

    real_write = os.write
    with monkeypatch.context() as patched:
        patched.setattr("os.write", lambda fd, data: real_write(fd, data[:10]))
        with pytest.raises(OSError, match="disk is full"):
            exchange.place(account, _request())
    assert _state(exchange) == before
    exchange.place(account, _request())
    after = _state(exchange)
    exchange.close()
    assert _state(_exchange(tmp_path)) == after
