"""The alert's fields on the wire, and a body made of them in the Pine style.

`render` is for `aristobot webhook send` and for tests: it writes what a Pine script of the
specification concatenates, so what is sent by hand goes the same way as TradingView's alerts.
Deliberately not here: reading (`core.alert_text`) and meaning (`core.alert`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

from aristobot.core.alert_text import WIRE_FIELDS

_ENGLISH = (
    "symbol",
    "exchange",
    "quote_currency",
    "base_currency",
    "interval",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "bar_time",
    "action",
    "price",
    "stop_loss_price",
    "take_profit_price",
    "percent",
    "user_id",
    "indicator",
    "broker_ref",
)

#: Wire name -> the name in `core.alert.Alert`, in the order of the specification.
ENGLISH_OF_WIRE: Mapping[str, str] = MappingProxyType(dict(zip(WIRE_FIELDS, _ENGLISH, strict=True)))
#: The name in `core.alert.Alert` -> wire name.
WIRE_OF_ENGLISH: Mapping[str, str] = MappingProxyType(dict(zip(_ENGLISH, WIRE_FIELDS, strict=True)))

#: What the user's Pine script leaves without quotation marks: these three and the numbers.
_UNQUOTED = frozenset({"BarTime", "Action", "IndicateurName"})
_NUMBERS = frozenset(
    {"Open", "High", "Low", "Close", "Volume", "Prix", "PrixSL", "PrixTP", "PourCent"}
)
# Nothing that could be mistaken for the end of an unquoted value, nor JSON's own words.
_PLAIN = re.compile(r"(?!\s|(?:true|false)\Z)[^\"\\{}\[\],\r\n\t\x00-\x1f]+(?<!\s)")

Number = Decimal | str


def render(
    action: str,
    *,
    symbol: str | None = None,
    exchange: str | None = None,
    quote_currency: str | None = None,
    base_currency: str | None = None,
    interval: str | None = None,
    open: Number | None = None,  # noqa: A002 - the name of the field
    high: Number | None = None,
    low: Number | None = None,
    close: Number | None = None,
    volume: Number | None = None,
    bar_time: datetime | str | None = None,
    price: Number | None = None,
    stop_loss_price: Number | None = None,
    take_profit_price: Number | None = None,
    percent: Number | None = None,
    user_id: str | None = None,
    indicator: str | None = None,
    broker_ref: str | None = None,
) -> bytes:
    """The body as a Pine script makes it: numbers bare, `NaN` for those that are None.

    Texts that are None are left out. A text that can't stand without quotation marks gets them.
    Nothing is checked, so that a refusal can be tried out too; a `bar_time` must be aware.
    """
    values: dict[str, object] = {
        "Symbol": symbol,
        "Exchange": exchange,
        "Currency": quote_currency,
        "BaseCurrency": base_currency,
        "Interval": interval,
        "Open": open,
        "High": high,
        "Low": low,
        "Close": close,
        "Volume": volume,
        "BarTime": _bar_time_text(bar_time),
        "Action": action,
        "Prix": price,
        "PrixSL": stop_loss_price,
        "PrixTP": take_profit_price,
        "PourCent": percent,
        "UserID": user_id,
        "IndicateurName": indicator,
        "UserExchangeID": broker_ref,
    }
    members = (
        f'"{name}": {_value_text(name, value)}'
        for name, value in values.items()
        if value is not None or name in _NUMBERS
    )
    return ("{" + ", ".join(members) + "}").encode()


def _bar_time_text(bar_time: datetime | str | None) -> str | None:
    if isinstance(bar_time, datetime):
        return bar_time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return bar_time


def _value_text(name: str, value: object) -> str:
    if value is None:
        return "NaN"
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if (name in _UNQUOTED or name in _NUMBERS) and _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
