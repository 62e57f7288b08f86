"""Bodies: what `render` writes is read again, and every recorded body means what it shows."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aristobot.contracts.alert_body import ENGLISH_OF_WIRE, WIRE_OF_ENGLISH, render
from aristobot.contracts.keys import signal_key
from aristobot.core.alert import Action, Alert, check_age, interpret
from aristobot.core.alert_text import WIRE_FIELDS, read_fields
from tests.bodies import body_paths, content_type, freshen

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)


def test_names_are_those_of_the_alert_and_the_wire() -> None:
    assert tuple(ENGLISH_OF_WIRE) == WIRE_FIELDS
    assert set(WIRE_OF_ENGLISH) == {field.name for field in fields(Alert)}
    assert ENGLISH_OF_WIRE["PrixSL"] == "stop_loss_price"
    assert WIRE_OF_ENGLISH["broker_ref"] == "UserExchangeID"


def test_render_is_in_the_pine_style() -> None:
    body = render(
        "BuyMarket",
        symbol="BTCUSDT",
        interval="5",
        close=Decimal("91912.340"),
        bar_time=datetime(2025, 11, 20, 10, 15, tzinfo=UTC),
        percent="5",
        indicator="EMA Cross 9/21",
        broker_ref="demo",
    )
    assert body == (
        b'{"Symbol": "BTCUSDT", "Interval": "5", "Open": NaN, "High": NaN, "Low": NaN, '
        b'"Close": 91912.340, "Volume": NaN, "BarTime": 2025-11-20T10:15:00Z, '
        b'"Action": BuyMarket, "Prix": NaN, "PrixSL": NaN, "PrixTP": NaN, "PourCent": 5, '
        b'"IndicateurName": EMA Cross 9/21, "UserExchangeID": "demo"}'
    )


_TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
    .filter(lambda text: len(text) <= 100 and text == text.strip())
    .filter(lambda text: text.lower() not in {"na", "nan", "null", "infinity", "-infinity"})
)
_NUMBERS = st.none() | st.decimals(min_value=Decimal("0.0001"), max_value=10**9, places=8)


@given(
    st.sampled_from([Action.PING, Action.BUY_MARKET, Action.SELL_MARKET]),
    st.none() | _TEXTS,
    st.none() | _TEXTS,
    _NUMBERS,
    st.decimals(min_value=Decimal("0.01"), max_value=100, places=4),
    st.datetimes(datetime(2001, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_what_is_rendered_is_read(
    action: Action,
    indicator: str | None,
    user_id: str | None,
    price: Decimal | None,
    percent: Decimal,
    bar_time: datetime,
) -> None:
    body = render(
        action.value,
        symbol="BTCUSDT",
        price=price,
        percent=percent,
        bar_time=bar_time,
        indicator=indicator,
        user_id=user_id,
    )
    assert interpret(read_fields(body)) == Alert(
        action=action,
        symbol="BTCUSDT",
        price=price,
        percent=None if action is Action.PING else percent,
        bar_time=bar_time,
        indicator=indicator,
        user_id=user_id,
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("true")
@example('1, "Action": "SellMarket')
@example("1, Action: SellMarket")
@example("1}")
def test_no_text_can_smuggle_a_field(text: str) -> None:
    body = render(text, symbol=text, indicator=text, user_id=text, percent=text, bar_time=text)
    if "\x00" in text:
        return
    for name, value in read_fields(body).items():
        assert value in (None, text.strip()), name


def _name(path: Path) -> str:
    return path.name


def test_there_are_enough_bodies() -> None:
    assert len(body_paths()) >= 14


@pytest.mark.parametrize("path", body_paths(), ids=_name)
def test_every_body_is_an_alert(path: Path) -> None:
    alert = interpret(read_fields(path.read_bytes()))
    assert alert.symbol in {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert alert.bar_time is not None
    assert datetime(2025, 11, 17, tzinfo=UTC) <= alert.bar_time < datetime(2025, 11, 21, tzinfo=UTC)
    assert alert.interval is not None
    assert (alert.percent is None) == (alert.action is Action.PING)
    assert alert.broker_ref == "demo"


@pytest.mark.parametrize("path", body_paths(), ids=_name)
def test_the_suffix_tells_json_from_half_json(path: Path) -> None:
    body = path.read_bytes()

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
    except ValueError:
        assert content_type(path).startswith("text/plain")
    else:
        assert content_type(path) == "application/json"


@pytest.mark.parametrize("path", body_paths(), ids=_name)
def test_a_freshened_body_is_young_and_otherwise_the_same(path: Path) -> None:
    old = path.read_bytes()
    new = freshen(old, NOW)
    before, after = read_fields(old), read_fields(new)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"BarTime"}
    assert len(new) == len(old)
    alert = interpret(after)
    assert alert.bar_time is not None
    assert timedelta(0) <= NOW - alert.bar_time < timedelta(days=1)
    check_age(alert, NOW, 1)


def test_the_bodies_are_distinct_signals() -> None:
    alerts = [interpret(read_fields(freshen(path.read_bytes(), NOW))) for path in body_paths()]
    assert len({signal_key("demo", "demo", alert) for alert in alerts}) == len(alerts)


@pytest.mark.parametrize("body", [b"", b'{"Action": PING}', b'{"BarTime": soon}'])
def test_what_has_no_bar_time_cannot_be_freshened(body: bytes) -> None:
    with pytest.raises(ValueError, match="bar time"):
        freshen(body, NOW)


def test_the_bodies_show_what_the_readme_promises() -> None:
    bodies = [path.read_bytes() for path in body_paths()]
    alerts = [interpret(read_fields(body)) for body in bodies]
    shown = {alert.interval.text for alert in alerts if alert.interval}
    assert {"5", "60", "240", "1D", "1W"} <= shown
    assert {Action.PING, Action.BUY_MARKET, Action.SELL_MARKET} <= {a.action for a in alerts}
    for mark in (b'"Action": BuyMarket', b'"Action": "BuyMarket"', b"\xef\xbb\xbf{", b"\r\n"):
        assert any(mark in body for body in bodies), mark
    for mark in (b": NaN", b": na", b'"PourCent":"4.5"', b'"BINANCE:BTCUSDT"', b'"strategy": {'):
        assert any(mark in body for body in bodies), mark
    for mark in (b'"BarTime": 17636256', b'"BarTime": 1763596800,', "Élan".encode()):
        assert any(mark in body for body in bodies), mark
