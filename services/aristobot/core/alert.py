"""What an alert means: from its fields (texts, see `core.alert_text`) to a checked `Alert`.

Second step of the engine's way from webhook to order. Whatever is wrong raises `Refused` with a
sentence for the user and a stable code: no_action, unknown_action, no_symbol, bad_symbol,
not_spot, no_percent, bad_percent, no_price, no_protection, bad_number, bad_interval, bad_bar_time,
too_long, stale, in_future (and `unreadable` from the step before).

Rules that are easy to miss:

- A field of the wrong type is refused whatever the action, so a `PING` shows a script's mistake
  before the first trade does. `PourCent` alone is not looked at where no rule uses it (PING, MAJ).
- A price of 0 is no price: scripts start their variables at 0, and nothing trades at 0.
- Actions count whatever their letter case; no two differ by it.

Deliberately not here: whether the broker may trade, whether the symbol exists there, and sizing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from aristobot.core.errors import Refused
from aristobot.core.intervals import Interval, parse_bar_time, parse_interval
from aristobot.core.orders import OrderType, Side

#: A double has at most 17 significant digits; what is longer is not from str.tostring.
LONGEST_NUMBER = 40
LONGEST_TEXT = 128
LONGEST_SYMBOL = 40
#: How far a sender's clock may be ahead of ours.
CLOCK_TOLERANCE = timedelta(minutes=5)

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
#: Powers of ten between which a price, volume or percent can lie; far wider than any market.
_LARGEST_EXPONENT = 24
_PERPETUAL = re.compile(r"(?:\.P|PERP)$")
_SEPARATOR = re.compile(r"[/_-]")
_HUNDRED = Decimal(100)


class Action(StrEnum):
    """What the alert asks for, with the specification's words as they are on the wire."""

    PING = "PING"
    BUY_MARKET = "BuyMarket"
    SELL_MARKET = "SellMarket"
    BUY_LIMIT = "BuyLimit"
    SELL_LIMIT = "SellLimit"
    UPDATE_PROTECTION = "MAJ"

    @property
    def side(self) -> Side | None:
        """The side of the order it asks for; None for PING and MAJ."""
        return _ORDERS[self][0] if self in _ORDERS else None

    @property
    def order_type(self) -> OrderType | None:
        """The type of the order it asks for; None for PING and MAJ."""
        return _ORDERS[self][1] if self in _ORDERS else None


_ORDERS = {
    Action.BUY_MARKET: (Side.BUY, OrderType.MARKET),
    Action.SELL_MARKET: (Side.SELL, OrderType.MARKET),
    Action.BUY_LIMIT: (Side.BUY, OrderType.LIMIT),
    Action.SELL_LIMIT: (Side.SELL, OrderType.LIMIT),
}
_BY_LOWER_NAME = {action.lower(): action for action in Action}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, checked. Prices are in the quote currency, `percent` is above 0, at most 100.

    `symbol` is in the normal form of `normalise_symbol`, and None only for a PING without one;
    `percent` is there for every order; `price` for every limit order. `bar_time` is when the bar
    opened (Pine's `time`), in UTC. `broker_ref` is `UserExchangeID` as sent.
    """

    action: Action
    symbol: str | None = None
    exchange: str | None = None
    quote_currency: str | None = None
    base_currency: str | None = None
    interval: Interval | None = None
    bar_time: datetime | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal | None = None
    price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    take_profit_price: Decimal | None = None
    percent: Decimal | None = None
    user_id: str | None = None
    indicator: str | None = None
    broker_ref: str | None = None


def interpret(fields: Mapping[str, str | None]) -> Alert:
    """Give the fields (by wire name, as `read_fields` returns them) their meaning.

    Raises `Refused` with one of the codes in this module's docstring.
    """
    action = _action(fields.get("Action"))
    symbol_text = fields.get("Symbol")
    interval = fields.get("Interval")
    bar_time = fields.get("BarTime")
    alert = Alert(
        action=action,
        symbol=normalise_symbol(symbol_text) if symbol_text else None,
        exchange=_exchange(_text(fields, "Exchange"), symbol_text),
        quote_currency=_text(fields, "Currency"),
        base_currency=_text(fields, "BaseCurrency"),
        interval=parse_interval(interval) if interval else None,
        bar_time=parse_bar_time(bar_time) if bar_time else None,
        open=_number(fields, "Open"),
        high=_number(fields, "High"),
        low=_number(fields, "Low"),
        close=_number(fields, "Close"),
        volume=_number(fields, "Volume"),
        price=_number(fields, "Prix") or None,
        stop_loss_price=_number(fields, "PrixSL") or None,
        take_profit_price=_number(fields, "PrixTP") or None,
        percent=_percent(fields, action) if action in _ORDERS else None,
        user_id=_text(fields, "UserID"),
        indicator=_text(fields, "IndicateurName"),
        broker_ref=_text(fields, "UserExchangeID"),
    )
    _check_complete(alert)
    return alert


def normalise_symbol(text: str) -> str:
    """The pair in upper case without exchange prefix and separator: `BINANCE:btc/usdt` is BTCUSDT.

    Raises `Refused`: `not_spot` for futures (`BTCUSDT.P`, `BTCUSDTPERP`, `BTCUSDT_251226`),
    `bad_symbol` for what is no pair. Letters outside ASCII are kept: venues do list such coins.
    """
    shown = text.strip()[:LONGEST_SYMBOL]
    pair = text.strip().rpartition(":")[2].strip().upper()
    parts = _SEPARATOR.split(pair)
    if _PERPETUAL.search(pair) or (len(parts) == 2 and parts[1].isdigit()):
        raise Refused(
            "not_spot",
            f"{shown!r} is a future and Aristobot trades spot; set the alert on the spot pair's "
            "chart",
        )
    pair = "".join(parts)
    is_long_enough = 2 <= len(pair) <= LONGEST_SYMBOL and all(parts)
    if len(text) > 2 * LONGEST_SYMBOL or len(parts) > 2 or not is_long_enough:
        raise Refused("bad_symbol", f"{shown!r} is not a trading pair like BTCUSDT")
    if not pair.isalnum():
        raise Refused(
            "bad_symbol",
            f"{shown!r} is not a spot pair like BTCUSDT or BINANCE:BTCUSDT (it may hold letters "
            "and digits only)",
        )
    return pair


def check_age(alert: Alert, received_at: datetime, max_age_seconds: float | None) -> None:
    """Refuse an alert whose bar closed too long before it was received, or isn't there yet.

    The bar closes an interval after its time; without an interval its time alone counts. Raises
    `Refused("stale")` when that is more than `max_age_seconds` ago, so a captured alert can't be
    replayed later, and `Refused("in_future")` when the bar opens later than an interval and 5
    minutes from now: such an alert could be replayed for as long, and comes from a script that
    sends local time without a zone (which is read as UTC). Neither is looked at when
    `max_age_seconds` is None or 0, or when the alert names no bar.
    """
    if not max_age_seconds or alert.bar_time is None:
        return
    closed_at = alert.bar_time
    if alert.interval is not None:
        closed_at = alert.interval.close_of(alert.bar_time)
    age_seconds = (received_at - closed_at).total_seconds()
    if age_seconds > max_age_seconds:
        raise Refused(
            "stale",
            f"the alert's bar closed at {_utc(closed_at)}, {age_seconds:.0f} s before it was "
            f"received; at most {max_age_seconds:g} s are allowed",
        )
    if alert.bar_time - received_at > (closed_at - alert.bar_time) + CLOCK_TOLERANCE:
        raise Refused(
            "in_future",
            f"the alert's bar time {_utc(alert.bar_time)} is in the future (received at "
            f"{_utc(received_at)}); send BarTime in UTC or with its zone, like {{{{time}}}}",
        )


def _action(text: str | None) -> Action:
    known = ", ".join(Action)
    if text is None:
        raise Refused("no_action", f'the alert has no "Action"; send one of {known}')
    action = _BY_LOWER_NAME.get(text.lower())
    if action is None:
        raise Refused("unknown_action", f"the action {text[:40]!r} is unknown; send one of {known}")
    return action


def _exchange(name: str | None, symbol: str | None) -> str | None:
    """The exchange field, or else the symbol's prefix. For the record: the broker decides."""
    if name is None and symbol is not None and ":" in symbol:
        return symbol.partition(":")[0].strip()[:LONGEST_SYMBOL] or None
    return name


def _text(fields: Mapping[str, str | None], name: str) -> str | None:
    text = fields.get(name)
    if text is not None and len(text) > LONGEST_TEXT:
        raise Refused(
            "too_long", f'"{name}" has {len(text)} characters; at most {LONGEST_TEXT} are allowed'
        )
    return text


def _number(fields: Mapping[str, str | None], name: str) -> Decimal | None:
    """A finite number that isn't negative, within bounds in which arithmetic stays cheap."""
    text = fields.get(name)
    if text is None:
        return None
    if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        raise Refused(
            "bad_number",
            f'"{name}" is {text[:LONGEST_NUMBER]!r} and not a number like 97123.5 (point, no '
            f"thousands separators, at most {LONGEST_NUMBER} characters)",
        )
    number = Decimal(text)
    if number.is_zero():
        return Decimal(0)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise Refused("bad_number", f'"{name}" is {text}, which no market has')
    if number < 0:
        raise Refused("bad_number", f'"{name}" is {text}; it may not be negative')
    return number


def _percent(fields: Mapping[str, str | None], action: Action) -> Decimal:
    text = fields.get("PourCent")
    if text is None:
        raise Refused(
            "no_percent", f'{action} needs "PourCent", above 0 and at most 100; it holds no number'
        )
    if text.startswith("-") and _NUMBER.fullmatch(text):
        raise Refused("bad_percent", f'"PourCent" is {text[:40]}; it must be above 0, at most 100')
    percent = _number(fields, "PourCent") or Decimal(0)
    if not 0 < percent <= _HUNDRED:
        raise Refused("bad_percent", f'"PourCent" is {text}; it must be above 0 and at most 100')
    return percent


def _check_complete(alert: Alert) -> None:
    action = alert.action
    if alert.symbol is None and action is not Action.PING:
        raise Refused("no_symbol", f'{action} needs "Symbol", like BTCUSDT')
    if action.order_type is OrderType.LIMIT and alert.price is None:
        raise Refused("no_price", f'{action} needs "Prix"; it holds no number above 0')
    if (
        action is Action.UPDATE_PROTECTION
        and alert.stop_loss_price is None
        and alert.take_profit_price is None
    ):
        raise Refused(
            "no_protection", f'{action} needs "PrixSL" or "PrixTP"; neither holds a number above 0'
        )


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
