"""Orders that wait for a price, alone and in pairs: when they trigger, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.accounts import Account
from aristobot.simulator.clock import Clock
from aristobot.simulator.market import Market
from aristobot.simulator.matching import Exchange
from aristobot.simulator.orders import (
    EndReason,
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
BTC = PAIRS["BTCUSDT"]
NEW, FILLED, EXPIRED = OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.EXPIRED
CANCELLED = OrderStatus.CANCELLED


def _opened(folder: Path | None = None) -> Exchange:
    exchange = Exchange(SimulatorSettings(data_dir=folder, seed=3), Clock())
    if exchange.account("k") is None:
        exchange.put_account("k", "s", {"USDT": D(20_000), "BTC": D(1)}, reset=False)
        exchange.set_price(BTC, D(100_000), freeze=True)
    return exchange


@pytest.fixture(autouse=True)
def without_a_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of invented candles would only make these tests slower."""
    monkeypatch.setattr(Market, "invent_past", lambda self: None)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = _opened()
    yield exchange
    exchange.close()


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.book.accounts["k"]


def _waiting(trigger: Trigger | None, side: Side, stop: int, **more: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT", "side": side, "kind": Kind.MARKET, "client_id": "w",
        "quantity": D("0.1"), "trigger": trigger, "stop_price": D(stop),
    }  # fmt: skip
    return OrderRequest(**{**fields, **more})


def _pair(side: Side = Side.SELL, name: str = "1", **target: Any) -> ListRequest:
    """Stop and target a tenth away from 100,000; the target rests unless told otherwise."""
    stop_at, target_at = (90_000, 110_000) if side is Side.SELL else (110_000, 90_000)
    stop = _waiting(Trigger.STOP, side, stop_at, client_id=f"stop-{name}")
    rests = {"kind": Kind.POST_ONLY, "trigger": None, "stop_price": None, "price": D(target_at)}
    aim = _waiting(None, side, target_at, client_id=f"target-{name}")
    return ListRequest(f"list-{name}", stop, replace(aim, **{**rests, **target}))


def _legs(exchange: Exchange, name: str = "1") -> tuple[Order, Order]:
    latest = exchange.book.accounts["k"].latest_by_client_id
    return latest["BTCUSDT", f"stop-{name}"], latest["BTCUSDT", f"target-{name}"]


def _move(exchange: Exchange, price: int) -> None:
    exchange.set_price(BTC, D(price), freeze=True)


@pytest.mark.parametrize(
    ("trigger", "side", "stop", "before"),
    [
        (Trigger.STOP, Side.SELL, 95_000, 95_010),
        (Trigger.TARGET, Side.BUY, 95_000, 95_010),
        (Trigger.STOP, Side.BUY, 105_000, 104_990),
        (Trigger.TARGET, Side.SELL, 105_000, 104_990),
    ],
)
def test_the_last_price_triggers(
    exchange: Exchange, account: Account, trigger: Trigger, side: Side, stop: int, before: int
) -> None:
    order = exchange.place(account, _waiting(trigger, side, stop))
    locked = account.balance("BTC" if side is Side.SELL else "USDT").locked
    assert locked == (D("0.1") if side is Side.SELL else stop * D("0.1"))
    _move(exchange, before)
    assert (order.status, order.is_waiting, order.trades) == (NEW, True, [])
    _move(exchange, stop)  # the price itself is enough, though the bid is below and the ask above
    assert (order.status, order.is_waiting) == (FILLED, False)
    quote = exchange.market.quote("BTCUSDT")
    assert order.trades[0].price == (quote.ask if side is Side.BUY else quote.bid)
    assert not order.trades[0].is_maker
    assert account.balance("BTC").locked == account.balance("USDT").locked == 0


@pytest.mark.parametrize("price", [95_000, 100_000, 105_000])
@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("side", Side)
def test_what_would_trigger_at_once_is_refused(
    exchange: Exchange, account: Account, side: Side, trigger: Trigger, price: int
) -> None:
    waits_below = (trigger is Trigger.STOP) == (side is Side.SELL)
    request = _waiting(trigger, side, price)
    if price == 100_000 or (price < 100_000) != waits_below:
        with pytest.raises(Refused) as refused:
            exchange.place(account, request)
        assert refused.value.refusal is Refusal.WOULD_TRIGGER
    else:
        assert exchange.place(account, request).is_waiting


@pytest.mark.parametrize(
    ("lifetime", "price", "status", "reason"),
    [
        (Lifetime.GOOD_TILL_CANCELLED, 96_000, NEW, None),
        (Lifetime.IMMEDIATE_OR_CANCEL, 96_000, EXPIRED, EndReason.IMMEDIATE_REMAINDER),
        (Lifetime.FILL_OR_KILL, 96_000, EXPIRED, EndReason.NOT_FILLABLE_AT_ONCE),
        (Lifetime.GOOD_TILL_CANCELLED, 94_000, FILLED, None),
    ],
)
def test_a_triggered_limit_order_lives_as_a_limit_order(
    exchange: Exchange,
    account: Account,
    lifetime: Lifetime,
    price: int,
    status: OrderStatus,
    reason: EndReason | None,
) -> None:
    limit = {"kind": Kind.LIMIT, "price": D(price), "lifetime": lifetime}
    order = exchange.place(account, _waiting(Trigger.STOP, Side.SELL, 95_000, **limit))
    _move(exchange, 95_000)
    assert (order.status, order.end_reason, order.is_waiting) == (status, reason, False)
    assert account.balance("BTC").locked == (D("0.1") if order.is_open else 0)
    if order.is_open:  # it is in the book now, and filled there at its own price
        _move(exchange, 97_000)
        assert (order.status, order.trades[0].price) == (FILLED, D(96_000))


def test_a_stop_purchase_takes_what_it_lacks_from_the_free_balance_or_expires(
    exchange: Exchange, account: Account
) -> None:
    order = exchange.place(account, _waiting(Trigger.STOP, Side.BUY, 105_000))
    _move(exchange, 150_000)  # a gap: 10,500 were locked, 15,000 are needed, 20,000 are there
    assert order.status is FILLED
    assert account.free("USDT") < 5_000
    exchange.put_account("k", "s", {"USDT": D(20_000), "BTC": D(1)}, reset=True)
    _move(exchange, 100_000)
    order = exchange.place(account, _waiting(Trigger.STOP, Side.BUY, 105_000))
    _move(exchange, 250_000)
    assert (order.status, order.end_reason) == (EXPIRED, EndReason.NO_FUNDS)
    assert account.free("USDT") == 20_000


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("winner", ["stop", "target"])
def test_one_cancels_the_other(
    exchange: Exchange, account: Account, side: Side, winner: str
) -> None:
    made = exchange.place_list(account, _pair(side))
    asset = "BTC" if side is Side.SELL else "USDT"
    assert account.balance(asset).locked == (D("0.1") if side is Side.SELL else 11_000)
    goes_up = (winner == "target") == (side is Side.SELL)
    _move(exchange, 110_000 if goes_up else 90_000)
    stop, target = _legs(exchange)
    won, lost = (stop, target) if winner == "stop" else (target, stop)
    assert (won.status, lost.status) == ((FILLED, EXPIRED) if winner == "stop" else (NEW, NEW))
    if winner == "target":  # the best price is half a spread behind the last one
        _move(exchange, 111_000 if goes_up else 89_000)
    assert (won.status, lost.status, lost.end_reason) == (FILLED, EXPIRED, EndReason.OTHER_LEG)
    assert won.trades[0].is_maker == (winner == "target")
    assert not made.is_open
    assert account.balance("BTC").locked == account.balance("USDT").locked == 0


def test_a_pair_that_takes_its_profit_at_the_market(exchange: Exchange, account: Account) -> None:
    touch = {"kind": Kind.MARKET, "trigger": Trigger.TARGET, "price": None}
    exchange.place_list(account, _pair(stop_price=D(110_000), **touch))
    _move(exchange, 110_000)
    stop, target = _legs(exchange)
    assert (stop.status, target.status, target.trades[0].is_maker) == (EXPIRED, FILLED, False)


@pytest.mark.parametrize("rest_expires", [False, True])
def test_the_other_leg_ends_with_the_first_part_of_a_fill(
    exchange: Exchange, account: Account, rest_expires: bool
) -> None:
    plan = FillPlan(D("0.3"), 0, rest_expires=rest_expires)
    exchange.place_list(account, _pair(), plan)
    _move(exchange, 111_000)
    stop, target = _legs(exchange)
    assert (target.status, target.executed) == (OrderStatus.PARTIALLY_FILLED, D("0.03"))
    assert stop.status is EXPIRED
    assert account.balance("BTC").locked == D("0.07")
    _move(exchange, 100_000)  # the rest is filled at the price of the first part, or never
    assert target.status is (EXPIRED if rest_expires else FILLED)
    assert target.executed == (D("0.03") if rest_expires else D("0.1"))
    assert account.balance("BTC").locked == 0


@pytest.mark.parametrize("leg", [0, 1])
def test_cancelling_a_leg_cancels_both(exchange: Exchange, account: Account, leg: int) -> None:
    made = exchange.place_list(account, _pair())
    exchange.cancel([_legs(exchange)[leg]], "by-hand")
    assert [order.status for order in _legs(exchange)] == [CANCELLED, CANCELLED]
    assert not made.is_open
    assert account.free("BTC") == 1


def test_a_reset_ends_pairs_too(exchange: Exchange, account: Account) -> None:
    exchange.place_list(account, _pair())
    exchange.place(account, _waiting(Trigger.STOP, Side.SELL, 95_000))
    exchange.put_account("k", "s", {"BTC": D(2)}, reset=True)
    assert account.open_lists == {}
    assert [order.status for order in _legs(exchange)] == [CANCELLED, CANCELLED]
    assert (account.free("BTC"), account.balance("BTC").locked) == (2, 0)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"stop": {"stop_price": D(100_000)}}, Refusal.LIST_PRICES),
        ({"stop": {"stop_price": D(120_000)}}, Refusal.LIST_PRICES),
        ({"target": {"price": D(100_000)}}, Refusal.LIST_PRICES),
        ({"target": {"price": D("100000.01")}}, None),
        ({"target": {"price": D("110000.001")}}, Refusal.PRICE_STEP),
        ({"stop": {"stop_price": D("90000.001")}}, Refusal.PRICE_STEP),
        ({"stop": {"client_id": "target-1"}}, Refusal.DUPLICATE_CLIENT_ID),
        ({"both": {"quantity": D("0.000011")}}, Refusal.QUANTITY),
        ({"both": {"quantity": D("0.00005")}}, Refusal.NOTIONAL),
        ({"both": {"quantity": D("1.1")}}, Refusal.INSUFFICIENT_BALANCE),
    ],
)
def test_refused_pairs_change_nothing(
    exchange: Exchange, account: Account, changes: dict[str, Any], refusal: Refusal | None
) -> None:
    pair, both = _pair(), changes.get("both", {})
    pair = replace(
        pair,
        stop=replace(pair.stop, **both, **changes.get("stop", {})),
        target=replace(pair.target, **both, **changes.get("target", {})),
    )
    if refusal is None:
        assert exchange.place_list(account, pair).is_open
        return
    before = list(exchange.book.snapshot())
    with pytest.raises(Refused) as refused:
        exchange.place_list(account, pair)
    assert refused.value.refusal is refusal
    assert list(exchange.book.snapshot()) == before


def test_how_many_may_wait(exchange: Exchange, account: Account) -> None:
    for number in range(5):
        exchange.place_list(account, _pair(name=f"{number}"))
    with pytest.raises(Refused) as refused:
        exchange.place_list(account, _pair(name="6"))
    assert refused.value.refusal is Refusal.CONDITIONAL_ORDERS
    with pytest.raises(Refused) as refused:
        exchange.place(account, _waiting(Trigger.STOP, Side.SELL, 95_000))
    assert refused.value.refusal is Refusal.CONDITIONAL_ORDERS
    with pytest.raises(Refused) as refused:
        exchange.place_list(account, replace(_pair(name="7"), client_id="list-0"))
    assert refused.value.refusal is Refusal.CONDITIONAL_ORDERS
    exchange.cancel([_legs(exchange, "0")[0]])
    with pytest.raises(Refused) as refused:
        exchange.place_list(account, replace(_pair(name="7"), client_id="list-1"))
    assert refused.value.refusal is Refusal.DUPLICATE_CLIENT_ID
    assert exchange.place_list(account, _pair(name="0")).is_open  # its ids are free again


def test_a_trigger_that_a_crash_kept_from_being_written_happens_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = _opened(tmp_path)
    exchange.place_list(exchange.book.accounts["k"], _pair())
    with monkeypatch.context() as dead:  # the process is killed between the price and the orders
        dead.setattr(Exchange, "_match_resting", lambda self, symbol: None)
        _move(exchange, 89_000)
        exchange._journal.close()
    again = _opened(tmp_path)
    assert [order.is_open for order in _legs(again)] == [True, True]
    again.tick()
    stop, target = _legs(again)
    assert (stop.status, target.status) == (FILLED, EXPIRED)
    assert len(stop.trades) == 1
    again.close()


def test_the_trigger_of_a_pair_is_one_entry_of_the_journal(tmp_path: Path) -> None:
    exchange = _opened(tmp_path)
    exchange.place_list(exchange.book.accounts["k"], _pair())
    _move(exchange, 89_000)
    state = list(exchange.book.snapshot())
    exchange._journal.close()
    (journal,) = tmp_path.glob("journal-*.jsonl")
    last = journal.read_text().splitlines()[-1]
    for event in ('"end"', '"list-done"', '"working"', '"fill"'):
        assert event in last
    again = _opened(tmp_path)
    assert list(again.book.snapshot()) == state
    again.tick()
    assert list(again.book.snapshot()) == state  # and nothing happens twice
    again.close()


def test_a_folder_from_before_there_were_waiting_orders_is_read(tmp_path: Path) -> None:
    accepted = [1, "k", "BTCUSDT", "old", "buy", "limit", "gtc", "90000", "0.01", "0",
                1_700_000_000_000, "900.00", None, None, False]  # fmt: skip
    snapshot: list[list[Any]] = [
        ["account", "k", "s", 100_001],
        ["kept-balances", "k", {"USDT": ["100", "900"]}, 1_700_000_000_000],
        ["kept-order", accepted, "new", 1_700_000_000_000, "0", "0", None, None],
        ["ids", 2, 1],
    ]
    lines = [json.dumps([event]) for event in snapshot]
    (tmp_path / "snapshot-1.jsonl").write_text("\n".join([*lines, '["end-of-snapshot"]\n']))
    second = ["order", 2, *accepted[1:3], "new", *accepted[4:11], "90.00", *accepted[12:]]
    second[9] = "0.001"
    (tmp_path / "journal-1.jsonl").write_text(json.dumps([second]) + "\n")
    exchange = _opened(tmp_path)
    account = exchange.book.accounts["k"]
    assert [order.is_waiting for order in exchange.book.orders.values()] == [False, False]
    assert (account.free("USDT"), account.balance("USDT").locked) == (D(10), D(990))
    exchange.set_price(BTC, D(100_000), freeze=True)
    _move(exchange, 89_000)
    assert [order.status for order in exchange.book.orders.values()] == [FILLED, FILLED]
    exchange.close()
