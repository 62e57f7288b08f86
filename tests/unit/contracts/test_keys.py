"""Keys and ids: the same for the same inputs, different for different ones, fit for their use."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.contracts import keys
from aristobot.core.alert import Action, Alert
from aristobot.core.intervals import parse_interval
from aristobot.core.orders import OrderStatus

ALERT = Alert(
    action=Action.BUY_MARKET,
    symbol="BTCUSDT",
    interval=parse_interval("5"),
    bar_time=datetime(2025, 11, 20, 10, 15, tzinfo=UTC),
    indicator="RSI",
    percent=Decimal(5),
)


def test_they_never_change() -> None:
    """Rows and messages written by an older version carry these: a change loses deduplication."""
    delivery = keys.delivery_key("token", b"body")
    webhook = keys.webhook_id(delivery, 7)
    command = keys.command_id(webhook)
    order = keys.client_order_id(command)
    assert delivery == "cf1a9a9400fffc62d8c7312aa866fb58b0b69c7504bca980b983fd7821ef2341"
    assert (
        keys.signal_key("demo", "demo", ALERT)
        == "1cdbb5afd02ca8ad77ccbe019a630d19ad90c3b602120a05e0eee3f7bcaf0fd0"
    )
    assert webhook == "702f8ec6-9d6c-5ca1-be6c-961993ba8225"
    assert command == "f6071742-b9a1-5c88-bfe8-da100517cec2"
    assert order == "abjyt7iifbuxeb43jgurrrrp26"
    assert (
        keys.event_id(order, OrderStatus.FILLED, Decimal("0.5"))
        == "4b3f266a55f410d5a980cfcdd49ae001561641057bf49a8118bb4576385af895"
    )


def test_token_hash_is_plain_sha256() -> None:
    assert keys.token_hash("token") == hashlib.sha256(b"token").hexdigest()


@given(st.tuples(st.text(), st.binary()), st.tuples(st.text(), st.binary()))
def test_delivery_keys_differ(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (keys.delivery_key(*one) == keys.delivery_key(*other)) == (one == other)


@given(st.text(alphabet="ab:1-", min_size=1), st.data())
def test_a_moved_boundary_makes_another_delivery_key(text: str, data: st.DataObject) -> None:
    cuts = st.integers(0, len(text))
    one, other = data.draw(cuts), data.draw(cuts)
    same = keys.delivery_key(text[:one], text[one:].encode()) == keys.delivery_key(
        text[:other], text[other:].encode()
    )
    assert same == (one == other)


_NAMES = st.text(alphabet="ab1:-", max_size=3)
_ALERTS = st.builds(
    Alert,
    action=st.sampled_from(Action),
    symbol=st.none() | _NAMES,
    interval=st.none() | st.sampled_from(["5", "1D"]).map(parse_interval),
    bar_time=st.sampled_from([ALERT.bar_time, datetime(2025, 11, 20, tzinfo=UTC)]),
    indicator=st.none() | _NAMES,
)
_SIGNALS = st.tuples(_NAMES, _NAMES, _ALERTS)


@given(_SIGNALS, _SIGNALS)
def test_signal_keys_differ(one: tuple[str, str, Alert], other: tuple[str, str, Alert]) -> None:
    assert (keys.signal_key(*one) == keys.signal_key(*other)) == (one == other)


def test_a_signal_is_the_same_whatever_its_prices_are() -> None:
    changed = replace(ALERT, price=Decimal(1), percent=Decimal(99), user_id="x", exchange="y")
    assert keys.signal_key("demo", "demo", changed) == keys.signal_key("demo", "demo", ALERT)


@pytest.mark.parametrize(
    "change",
    [
        {"action": Action.SELL_MARKET},
        {"symbol": "ETHUSDT"},
        {"interval": None},
        {"interval": parse_interval("15")},
        {"bar_time": datetime(2025, 11, 20, 10, 20, tzinfo=UTC)},
        {"indicator": None},
        {"indicator": ""},
    ],
)
def test_every_part_of_a_signal_counts(change: dict[str, object]) -> None:
    changed = replace(ALERT, **change)  # type: ignore[arg-type]
    assert keys.signal_key("demo", "demo", changed) != keys.signal_key("demo", "demo", ALERT)


def test_owner_and_broker_are_part_of_a_signal() -> None:
    found = {keys.signal_key(*parts, ALERT) for parts in [("ab", "c"), ("a", "bc"), ("abc", "")]}
    assert len(found) == 3


def test_without_a_bar_time_there_is_no_signal_key() -> None:
    assert keys.signal_key("demo", "demo", replace(ALERT, bar_time=None)) is None


@given(st.text(), st.integers(0, 2**63), st.text(), st.integers(0, 2**63))
def test_webhook_ids_are_uuids_and_differ(a: str, m: int, b: str, n: int) -> None:
    one, other = keys.webhook_id(a, m), keys.webhook_id(b, n)
    assert (one == other) == ((a, m) == (b, n))
    assert str(uuid.UUID(one)) == one
    assert uuid.UUID(one).version == 5


@given(st.text(), st.text())
def test_command_and_client_order_ids(a: str, b: str) -> None:
    assert (keys.command_id(a) == keys.command_id(b)) == (a == b)
    one, other = keys.client_order_id(a), keys.client_order_id(b)
    assert (one == other) == (a == b)
    # The common subset of all venues: exchange reference 1.5.
    assert re.fullmatch(r"ab[A-Za-z0-9_-]{1,30}", one)
    assert len(one) == 26


def test_kinds_of_ids_do_not_collide() -> None:
    assert keys.command_id("x") != keys.webhook_id("x", 0)
    assert keys.command_id(keys.command_id("x")) != keys.command_id("x")


_EVENTS = st.tuples(
    st.text(alphabet="ab1:", max_size=3),
    st.sampled_from(OrderStatus),
    st.decimals(min_value=0, max_value=2, places=1),
)


@given(_EVENTS, _EVENTS)
def test_event_ids_differ(
    one: tuple[str, OrderStatus, Decimal], other: tuple[str, OrderStatus, Decimal]
) -> None:
    assert (keys.event_id(*one) == keys.event_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.000"), ("0", "0E-8"), ("100", "1E+2"), ("0.10", "0.1")]
)
def test_equal_quantities_make_one_event(one: str, other: str) -> None:
    made = {keys.event_id("ab", OrderStatus.FILLED, Decimal(text)) for text in (one, other)}
    assert len(made) == 1


def test_long_quantities_are_not_rounded() -> None:
    long = Decimal("1." + "0" * 40 + "1")
    one = keys.event_id("ab", OrderStatus.PARTIALLY_FILLED, long)
    assert one != keys.event_id("ab", OrderStatus.PARTIALLY_FILLED, Decimal(1))


def test_a_bar_time_counts_and_not_its_zone() -> None:
    assert ALERT.bar_time is not None
    paris = replace(ALERT, bar_time=ALERT.bar_time.astimezone(timezone(timedelta(hours=1))))
    assert keys.signal_key("demo", "demo", paris) == keys.signal_key("demo", "demo", ALERT)
