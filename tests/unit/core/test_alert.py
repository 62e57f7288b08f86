"""From fields to a checked alert: what it means, and every way in which it is refused."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.alert import Action, Alert, check_age, interpret, normalise_symbol
from aristobot.core.alert_text import WIRE_FIELDS
from aristobot.core.errors import Refused
from aristobot.core.intervals import parse_interval
from aristobot.core.orders import OrderType, Side

BUY: dict[str, str | None] = {"Action": "BuyMarket", "Symbol": "BTCUSDT", "PourCent": "50"}
MOMENT = datetime(2025, 11, 20, 10, 15, tzinfo=UTC)


def test_every_field_has_its_place() -> None:
    alert = interpret(
        {
            "Symbol": "BINANCE:BTCUSDT",
            "Exchange": "BINANCE",
            "Currency": "USDT",
            "BaseCurrency": "BTC",
            "Interval": "D",
            "Open": "1",
            "High": "4",
            "Low": "0.5",
            "Close": "2e0",
            "Volume": "0",
            "BarTime": "2025-11-20T10:15:00Z",
            "Action": "buylimit",
            "Prix": "91912.34",
            "PrixSL": "90000",
            "PrixTP": "95000.",
            "PourCent": "12.5",
            "UserID": "u",
            "IndicateurName": "RSI",
            "UserExchangeID": "demo",
        }
    )
    assert alert == Alert(
        action=Action.BUY_LIMIT,
        symbol="BTCUSDT",
        exchange="BINANCE",
        quote_currency="USDT",
        base_currency="BTC",
        interval=parse_interval("1D"),
        bar_time=MOMENT,
        open=Decimal(1),
        high=Decimal(4),
        low=Decimal("0.5"),
        close=Decimal(2),
        volume=Decimal(0),
        price=Decimal("91912.34"),
        stop_loss_price=Decimal(90000),
        take_profit_price=Decimal(95000),
        percent=Decimal("12.5"),
        user_id="u",
        indicator="RSI",
        broker_ref="demo",
    )


def test_actions_say_what_they_order() -> None:
    ordered = {action: (action.side, action.order_type) for action in Action}
    assert ordered == {
        Action.PING: (None, None),
        Action.BUY_MARKET: (Side.BUY, OrderType.MARKET),
        Action.SELL_MARKET: (Side.SELL, OrderType.MARKET),
        Action.BUY_LIMIT: (Side.BUY, OrderType.LIMIT),
        Action.SELL_LIMIT: (Side.SELL, OrderType.LIMIT),
        Action.UPDATE_PROTECTION: (None, None),
    }


def test_a_ping_needs_nothing_else() -> None:
    assert interpret({"Action": "ping"}) == Alert(action=Action.PING)
    assert interpret({"Action": "PING", "PourCent": "-5"}).percent is None


def test_an_update_ignores_the_percent() -> None:
    fields = {"Action": "MAJ", "Symbol": "BTCUSDT", "PrixSL": "5", "PourCent": "many"}
    alert = interpret(fields)
    assert (alert.percent, alert.take_profit_price) == (None, None)
    assert alert.stop_loss_price == 5


def test_a_price_of_zero_is_none() -> None:
    alert = interpret({**BUY, "Prix": "0", "PrixSL": "0.00", "PrixTP": "0e99", "Volume": "0"})
    assert (alert.price, alert.stop_loss_price, alert.take_profit_price) == (None, None, None)
    assert alert.volume == 0


def test_the_exchange_may_come_with_the_symbol() -> None:
    assert interpret({**BUY, "Symbol": "KUCOIN:BTC-USDT"}).exchange == "KUCOIN"
    assert interpret({**BUY, "Symbol": "KUCOIN:BTC-USDT", "Exchange": "X"}).exchange == "X"


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"Action": None}, "no_action", "BuyMarket"),
        ({"Action": "MISS"}, "unknown_action", "MISS"),
        ({"Action": "buy"}, "unknown_action", "BuyMarket"),
        ({"Symbol": None}, "no_symbol", "Symbol"),
        ({"Symbol": "BTCUSDT.P"}, "not_spot", "future"),
        ({"Symbol": "BTC USDT"}, "bad_symbol", "pair"),
        ({"PourCent": None}, "no_percent", "PourCent"),
        ({"PourCent": "0"}, "bad_percent", "above 0"),
        ({"PourCent": "-5"}, "bad_percent", "-5"),
        ({"PourCent": "100.01"}, "bad_percent", "100.01"),
        ({"PourCent": "ten"}, "bad_number", "ten"),
        ({"PourCent": "1e999"}, "bad_number", "no market"),
        ({"Action": "SellMarket", "PourCent": None}, "no_percent", "SellMarket"),
        ({"Action": "BuyLimit"}, "no_price", "Prix"),
        ({"Action": "SellLimit", "Prix": "0"}, "no_price", "Prix"),
        ({"Action": "MAJ"}, "no_protection", "PrixSL"),
        ({"Action": "MAJ", "Symbol": None, "PrixSL": "1"}, "no_symbol", "MAJ"),
        ({"Prix": "1,5"}, "bad_number", "point"),
        ({"Prix": "1_000"}, "bad_number", "1_000"),
        ({"Prix": "\u0661"}, "bad_number", "number"),
        ({"Prix": "sNaN"}, "bad_number", "sNaN"),
        ({"Prix": "Infinity"}, "bad_number", "Infinity"),
        ({"Prix": "1e999999"}, "bad_number", "number"),
        ({"Prix": "1e99"}, "bad_number", "no market"),
        ({"Prix": "1e-99"}, "bad_number", "no market"),
        ({"PrixSL": "-1"}, "bad_number", "negative"),
        ({"Open": "1" * 41}, "bad_number", "40 characters"),
        ({"Open": "0x10"}, "bad_number", "0x10"),
        ({"Interval": "5m"}, "bad_interval", "minutes or months"),
        ({"BarTime": "now"}, "bad_bar_time", "now"),
        ({"IndicateurName": "x" * 129}, "too_long", "128"),
        ({"UserExchangeID": "x" * 60_000}, "too_long", "60000"),
    ],
)
def test_is_refused(change: dict[str, str | None], code: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        interpret({**BUY, **change})
    assert caught.value.code == code
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("BINANCE:BTCUSDT", "BTCUSDT"),
        ("BTC/USDT", "BTCUSDT"),
        ("btc-usdt", "BTCUSDT"),
        ("BTC_USDT", "BTCUSDT"),
        (" binance : 1inch/usdt ", "1INCHUSDT"),
        ("PERPUSDT", "PERPUSDT"),
        ("BINANCE:币安人生USDT", "币安人生USDT"),
    ],
)
def test_symbols(text: str, pair: str) -> None:
    assert normalise_symbol(text) == pair
    assert normalise_symbol(pair) == pair


@pytest.mark.parametrize("text", ["BTCUSDT.P", "BINANCE:btcusdt.p", "BTCUSDTPERP", "BTC-PERP"])
def test_perpetuals_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="spot") as caught:
        normalise_symbol(text)
    assert caught.value.code == "not_spot"


def test_dated_futures_are_refused() -> None:
    with pytest.raises(Refused, match="spot"):
        normalise_symbol("BTCUSDT_251226")


@pytest.mark.parametrize(
    "text", ["", ":", "X", "BTC//USDT", "-BTCUSDT", "A/B/C", "BTC1!", "BTC.D", "A" * 41, "ABC" * 99]
)
def test_no_pairs(text: str) -> None:
    with pytest.raises(Refused) as caught:
        normalise_symbol(text)
    assert caught.value.code == "bad_symbol"


@given(st.dictionaries(st.sampled_from(WIRE_FIELDS), st.none() | st.text(max_size=60)))
def test_any_fields_are_an_alert_or_refused(fields: dict[str, str | None]) -> None:
    with contextlib.suppress(Refused):
        alert = interpret(fields)
        assert alert.symbol or alert.action is Action.PING
        assert alert.percent is None or 0 < alert.percent <= 100


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_a_percent_is_never_out_of_bounds(percent: Decimal) -> None:
    fields = {**BUY, "PourCent": f"{percent:f}"}
    if 0 < percent <= 100:
        assert interpret(fields).percent == percent
    else:
        with pytest.raises(Refused):
            interpret(fields)


def _alert(bar_time: datetime | None, interval: str | None = "5") -> Alert:
    return Alert(
        action=Action.PING,
        bar_time=bar_time,
        interval=parse_interval(interval) if interval else None,
    )


def test_age_counts_from_the_bars_close() -> None:
    alert = _alert(MOMENT)
    close = MOMENT + timedelta(minutes=5)
    check_age(alert, close + timedelta(seconds=60), 60)
    with pytest.raises(Refused, match="2025-11-20 10:20:00 UTC, 61 s") as caught:
        check_age(alert, close + timedelta(seconds=61), 60)
    assert caught.value.code == "stale"


def test_age_without_interval_counts_from_the_bar_time() -> None:
    check_age(_alert(MOMENT, None), MOMENT + timedelta(seconds=60), 60)
    with pytest.raises(Refused):
        check_age(_alert(MOMENT, None), MOMENT + timedelta(seconds=61), 60)


def test_age_of_a_monthly_bar() -> None:
    first = datetime(2025, 11, 1, tzinfo=UTC)
    check_age(_alert(first, "1M"), datetime(2025, 12, 1, 0, 0, 30, tzinfo=UTC), 60)


@pytest.mark.parametrize("off", [None, 0])
def test_age_can_be_off(off: float | None) -> None:
    check_age(_alert(MOMENT), MOMENT + timedelta(days=900), off)
    check_age(_alert(MOMENT), MOMENT - timedelta(days=900), off)


def test_no_bar_time_has_no_age() -> None:
    check_age(_alert(None), MOMENT, 60)


def test_the_future_is_refused_beyond_an_interval_and_five_minutes() -> None:
    # BarTime may be the close time of the bar that has just opened, on a clock ahead of ours.
    check_age(_alert(MOMENT), MOMENT - timedelta(minutes=10), 60)
    with pytest.raises(Refused, match="future") as caught:
        check_age(_alert(MOMENT), MOMENT - timedelta(minutes=10, seconds=1), 60)
    assert caught.value.code == "in_future"
    # An hour ahead: a script in Paris that sends local time without a zone.
    with pytest.raises(Refused, match="UTC or with its zone"):
        check_age(_alert(MOMENT, "15"), MOMENT - timedelta(hours=1), 60)
