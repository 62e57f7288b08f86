"""Documented payloads become port values; anything else becomes `Unreadable`, never a traceback."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.binance import parsing, rules
from aristobot.exchanges.binance.parsing import Unreadable
from aristobot.exchanges.port import Balance, BalancesUpdated, Fill, OrderUpdated
from tests.unit.exchanges.binance.conftest import payload

D = Decimal


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, tz=UTC).replace(microsecond=ms % 1000 * 1000)


def test_placed_market_order_has_its_fills_with_fees() -> None:
    report = parsing.placed_order(payload("order_market_full"))
    assert report.status is OrderStatus.FILLED
    assert (report.side, report.type, report.price) == (Side.SELL, OrderType.MARKET, None)
    assert (report.executed_quantity, report.executed_quote) == (D("10"), D("39996"))
    assert report.client_order_id == "ar-6gCrw2kRUAF9CvJDGP16IP"
    assert report.exchange_order_id == "28"
    assert report.updated_at == at(1507725176595)
    assert report.fills == (
        Fill("56", D("4000"), D("6"), D("24"), "USDT", at(1507725176595), is_maker=False),
        Fill("57", D("3999"), D("4"), D("15.996"), "USDT", at(1507725176595), is_maker=False),
    )


def test_placed_limit_order() -> None:
    report = parsing.placed_order(payload("order_limit_new"))
    assert report.status is OrderStatus.NEW
    assert report.price == D("3500.5")
    assert report.fills == ()


def test_a_mere_acknowledgement_is_not_a_report() -> None:
    with pytest.raises(Unreadable):
        parsing.placed_order(payload("order_ack"))


def test_queried_order() -> None:
    report = parsing.queried_order(payload("order_query"))
    assert report.status is OrderStatus.PARTIALLY_FILLED
    assert (report.quantity, report.executed_quantity) == (D("1"), D("0.4"))
    assert report.updated_at == at(1499827319600)


def test_cancelled_order_keeps_its_own_id() -> None:
    report = parsing.cancelled_order(payload("order_cancelled"))
    assert report.client_order_id == "ar-own"
    assert report.status is OrderStatus.CANCELLED
    assert report.executed_quantity == D("0.3")


def test_open_orders_include_what_was_placed_by_hand() -> None:
    own, by_hand = parsing.open_orders(payload("open_orders"))
    assert own.type is OrderType.LIMIT
    assert by_hand.type is OrderType.LIMIT
    assert by_hand.status is OrderStatus.NEW


def test_balances_without_zeros() -> None:
    assert parsing.balances(payload("account")) == {
        "BTC": Balance("BTC", D("4723846.89208129"), D("0")),
        "LTC": Balance("LTC", D("0"), D("1.5")),
    }


def test_trades() -> None:
    (fill,) = parsing.trades(payload("my_trades"))
    assert fill == Fill(
        "28457", D("4.000001"), D("12"), D("10.1"), "BNB", at(1499865549590), is_maker=True
    )


def test_exchange_info() -> None:
    info = rules.exchange_info(payload("exchange_info"))
    assert set(info.symbols) == {"BTCUSDT", "OLDBTC"}
    assert info.unreadable == ("ODDUSDT",)
    btc = info.symbols["BTCUSDT"]
    assert (btc.base, btc.quote, btc.is_trading, btc.market_by_quote) == ("BTC", "USDT", True, True)
    assert (btc.limit.minimum, btc.limit.step) == (D("0.00001"), D("0.00001"))
    assert btc.limit.maximum == D("9000")
    assert btc.market.maximum == D("120.5")  # the market filter's, being lower
    assert btc.market.step == D("0.00001")  # the market filter sets none
    assert btc.market.minimum == D("0.00001")
    assert (btc.min_notional, btc.min_notional_for_market) == (D("5"), True)
    assert (btc.max_notional, btc.max_notional_for_market) == (D("9000000"), False)
    assert (btc.price_tick, btc.quote_precision) == (D("0.01"), 8)
    old = info.symbols["OLDBTC"]
    assert not old.is_trading
    assert not old.market_by_quote
    assert (old.market.minimum, old.market.maximum, old.market.step) == (D(2), D(100), D(1))
    assert (old.min_notional, old.min_notional_for_market) == (D("0.0001"), True)
    assert old.price_tick is None
    headers = {limit.header: limit.limit for limit in info.limits}
    assert headers == {
        "x-mbx-used-weight-1m": 6000,
        "x-mbx-order-count-10s": 50,
        "x-mbx-order-count-1d": 160000,
    }


def test_stream_trade() -> None:
    event = parsing.stream_event(payload("event_trade"))
    assert isinstance(event, OrderUpdated)
    report = event.report
    assert report.status is OrderStatus.PARTIALLY_FILLED
    assert (report.executed_quantity, report.executed_quote) == (D("0.4"), D("0.041056"))
    (fill,) = report.fills
    assert (fill.trade_id, fill.price, fill.quantity) == ("77", D("0.10264"), D("0.4"))
    assert (fill.fee, fill.fee_asset, fill.is_maker) == (D("0.0004"), "ETH", True)
    assert fill.at == report.updated_at == at(1499405658657)


def test_stream_new_market_order() -> None:
    event = parsing.stream_event(payload("event_new"))
    assert isinstance(event, OrderUpdated)
    assert (event.report.status, event.report.price) == (OrderStatus.NEW, None)
    assert event.report.fills == ()


def test_stream_cancel_keeps_the_orders_own_id() -> None:
    event = parsing.stream_event(payload("event_cancelled"))
    assert isinstance(event, OrderUpdated)
    assert event.report.client_order_id == "ar-own"
    assert event.report.status is OrderStatus.CANCELLED


def test_stream_balances() -> None:
    assert parsing.stream_event(payload("event_balances")) == BalancesUpdated(
        (Balance("ETH", D("10000"), D("0")), Balance("BTC", D("0"), D("0.5"))),
        at=at(1564034571073),
    )


@pytest.mark.parametrize("kind", ["balanceUpdate", "listStatus", "externalLockUpdate", "later"])
def test_other_stream_events_are_passed_over(kind: str) -> None:
    assert parsing.stream_event({"e": kind, "E": 1}) is None


def test_a_trade_without_fee_asset() -> None:
    event = {**payload("event_trade"), "N": None, "n": None}
    parsed = parsing.stream_event(event)
    assert isinstance(parsed, OrderUpdated)
    assert (parsed.report.fills[0].fee, parsed.report.fills[0].fee_asset) == (D(0), None)


def test_error_bodies() -> None:
    assert parsing.error_of('{"code":-1013,"msg":"Filter failure: NOTIONAL"}') == (
        -1013,
        "Filter failure: NOTIONAL",
    )
    for text in ("", "<html>", "[]", "null", '{"code":"x","msg":"y"}', '{"code":1}', "[" * 9999):
        assert parsing.error_of(text) == (None, "")


def test_a_placed_list_names_both_legs() -> None:
    stop, target = parsing.placed_list(payload("list_placed"))
    assert (stop.client_order_id, stop.type, stop.price) == ("ar-stop", OrderType.STOP_LOSS, None)
    assert stop.stop_price == D("1")
    assert (target.client_order_id, target.type) == ("ar-target", OrderType.LIMIT_MAKER)
    assert (target.price, target.stop_price) == (D("3"), None)
    assert stop.status is target.status is OrderStatus.NEW
    assert stop.updated_at == parsing.moment(1710485608839)


def test_cancelling_a_leg_answers_with_the_list() -> None:
    report = parsing.cancelled(payload("list_cancelled"), "ar-target")
    assert (report.client_order_id, report.exchange_order_id) == ("ar-target", "3")
    assert report.status is OrderStatus.CANCELLED
    with pytest.raises(parsing.Unreadable):
        parsing.cancelled(payload("list_cancelled"), "ar-other")
    alone = payload("order_cancelled")
    assert parsing.cancelled(alone, "ignored") == parsing.cancelled_order(alone)


def test_a_list_s_status_is_no_event_of_the_port() -> None:
    assert parsing.stream_event(payload("event_list_status")) is None


PARSERS: list[tuple[Callable[[Any], object], str]] = [
    (parsing.placed_order, "order_market_full"),
    (parsing.queried_order, "order_query"),
    (parsing.cancelled_order, "order_cancelled"),
    (parsing.open_orders, "open_orders"),
    (parsing.placed_list, "list_placed"),
    (parsing.balances, "account"),
    (parsing.trades, "my_trades"),
    (parsing.stream_event, "event_trade"),
    (parsing.stream_event, "event_balances"),
    (rules.exchange_info, "exchange_info"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.text()
    | st.sampled_from(["NaN", "Infinity", "1e999999999", "-1", "FILLED", "BUY"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(("parse", "name"), PARSERS, ids=[name for _, name in PARSERS])
@given(data=st.data())
def test_one_wrong_value_is_read_or_unreadable(
    parse: Callable[[Any], object], name: str, data: st.DataObject
) -> None:
    body = copy.deepcopy(payload(name))
    node = body
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        break
    node[key] = data.draw(JSON)
    try:
        parse(body)
    except Unreadable:
        return  # the one way to fail


@given(JSON)
def test_any_json_is_read_or_unreadable(body: Any) -> None:
    for parse, _ in PARSERS:
        try:
            parse(body)
        except Unreadable:
            continue


@pytest.mark.parametrize("value", ["NaN", "Infinity", "", "1,0", None, True, 1.5, []])
def test_decimals_are_finite_and_exact(value: object) -> None:
    with pytest.raises((Unreadable, ArithmeticError)):
        parsing.decimal(value)
