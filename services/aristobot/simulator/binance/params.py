"""Reading a request's parameters as Binance does: text in, typed values or its error out. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from aristobot.simulator.binance.errors import (
    BinanceError,
    illegal,
    invalid_symbol,
    missing,
    too_precise,
)
from aristobot.simulator.pairs import PAIRS, UNIT, Pair

_NUMBER_PATTERN = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_SYMBOL_PATTERN = r"^[A-Z0-9-_.]{1,20}$"
_CLIENT_ID_PATTERN = r"^[a-zA-Z0-9-_]{1,36}$"
_NUMBER = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?")
_SYMBOL = re.compile(r"[A-Z0-9\-_.]{1,20}")
_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}")
_INTEGER = re.compile(r"[0-9]{1,20}")

Named = TypeVar("Named", bound=StrEnum)
Params = Mapping[str, str]


def parse(query: bytes, body: bytes) -> dict[str, str]:
    """All parameters; on duplicates the query wins, and of two in one place the first."""
    params: dict[str, str] = {}
    for raw in (query, body):
        if raw:
            text = raw.decode("utf-8", errors="replace")
            for name, value in parse_qsl(text, keep_blank_values=True):
                params.setdefault(name, value)
    return params


def pair(params: Params) -> Pair:
    """The mandatory `symbol`: -1102 missing, -1100 malformed, -1121 not listed."""
    return listed(params.get("symbol") or "", "symbol")


def optional_pair(params: Params) -> Pair | None:
    return pair(params) if "symbol" in params else None


def listed(symbol: str, name: str) -> Pair:
    if not symbol:
        raise missing(name)
    if not _SYMBOL.fullmatch(symbol):
        raise illegal(name, _SYMBOL_PATTERN)
    found = PAIRS.get(symbol)
    if found is None:
        raise invalid_symbol()
    return found


def pairs(params: Params) -> list[Pair] | None:
    """`symbol` or `symbols` (a JSON array); None when neither was sent."""
    if "symbol" in params:
        if "symbols" in params:
            raise BinanceError(
                -1128, "Combination of optional parameters invalid: 'symbol' and 'symbols'."
            )
        return [pair(params)]
    if "symbols" not in params:
        return None
    try:
        symbols = json.loads(params["symbols"])
    except ValueError:
        symbols = None
    if not isinstance(symbols, list) or not symbols:
        raise illegal("symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$')
    return [listed(s if isinstance(s, str) else "?", "symbols") for s in symbols]


def amount(params: Params, name: str) -> Decimal | None:
    """An optional positive amount with at most eight decimals."""
    text = params.get(name)
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise illegal(name, _NUMBER_PATTERN)
    value = Decimal(text)
    if value % UNIT:
        raise too_precise(name)
    if not value:
        raise BinanceError(-1013, f"Invalid {name}.")
    return value


def required_amount(params: Params, name: str) -> Decimal:
    value = amount(params, name)
    if value is None:
        raise missing(name)
    return value


def integer(params: Params, name: str) -> int | None:
    """An optional whole number of at most 20 digits."""
    text = params.get(name)
    if not text:
        return None
    if not (text.isascii() and _INTEGER.fullmatch(text)):
        raise illegal(name, "^[0-9]{1,20}$")
    return int(text)


def limit(params: Params, *, default: int, maximum: int) -> int:
    """`limit`, cut to the endpoint's maximum."""
    value = integer(params, "limit")
    if value is None:
        return default
    if value < 1:
        raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(value, maximum)


def named(params: Params, name: str, kind: type[Named], error: BinanceError) -> Named | None:
    """An optional member of an enumeration, or `error`."""
    text = params.get(name)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise error from None


def client_id(params: Params, name: str) -> str | None:
    """An optional client order id."""
    text = params.get(name)
    if not text:
        return None
    if not _CLIENT_ID.fullmatch(text):
        raise illegal(name, _CLIENT_ID_PATTERN)
    return text
