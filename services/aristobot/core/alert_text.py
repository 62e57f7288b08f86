"""Reads the text of an alert: from the bytes that came in to its fields, still as text.

First step of the engine's way from webhook to order; `core.alert` then gives the texts a meaning.
Two forms are read, both as TradingView really sends them:

- JSON proper. Numbers are kept as the exact text they were written in, so none is ever a float.
- The half-JSON that a Pine script concatenates: keys quoted, values maybe not
  (`{"Action": BuyMarket, "BarTime": 2025-11-20T10:15:00Z, "Prix": NaN,}`).

An unquoted value ends where the next `"Key":` or the closing brace begins, so it may hold colons,
spaces and even commas. What can be read in two ways isn't read at all: `Unreadable` says where it
is and what to change. Time and memory are linear in the body's length (one pass, no backtracking).

Deliberately not here: whether the values make sense, and the raw body's size limit (ingress).
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from aristobot.core.errors import Refused

#: The fields as the specification's Pine scripts send them, in that order.
WIRE_FIELDS = (
    "Symbol",
    "Exchange",
    "Currency",
    "BaseCurrency",
    "Interval",
    "Open",
    "High",
    "Low",
    "Close",
    "Volume",
    "BarTime",
    "Action",
    "Prix",
    "PrixSL",
    "PrixTP",
    "PourCent",
    "UserID",
    "IndicateurName",
    "UserExchangeID",
)

#: Deep enough for any sender's extra fields, far from where Python's own parser gives up.
MAX_DEPTH = 32

_BY_LOWER_NAME = {name.lower(): name for name in WIRE_FIELDS}
#: How Pine and JSON write "no value", whatever the letter case and quoted or not.
_NO_VALUE = frozenset({"", "na", "nan", "null", "infinity", "-infinity"})
_BOOLEANS: dict[str, object] = {"true": True, "false": False}
_SPACE = re.compile(r"[ \t\r\n]*")
# The usual key and the usual quoted value, without escapes: much faster than the JSON decoder,
# which reads the others. Neither pattern can match in two ways, so neither backtracks far.
_PLAIN_KEY = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\r\n]*:[ \t\r\n]*')
_PLAIN_VALUE = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\r\n]*')
_BRACKET_OR_QUOTE = re.compile(r'["\\{}\[\]]')
_NOT_UNQUOTED = re.compile(r"[{}\r\n]")
#: What JSON escapes can make but neither UTF-8 nor PostgreSQL's text can hold.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Unreadable(Refused):
    """The body is not an alert; the text says where it goes wrong and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__("unreadable", reason)


def _no_constant(_name: str) -> None:
    return None


# Objects become tuples of pairs and arrays lists, so that a key given twice is seen and an object
# is told from an array. Integers stay text too: int() refuses more than 4,300 digits.
_DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=tuple
)


def read_fields(body: bytes) -> dict[str, str | None]:
    """The alert's known fields by their wire name; None for a field that holds no value.

    Keys count whatever their letter case. Fields that we don't know are passed over. Raises
    `Unreadable` for anything that is not one object of such fields, or could mean two things.
    """
    text = _decode(body)
    _check_depth(text)
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError:
        return _known(_scan(text))
    if not isinstance(value, tuple):
        raise Unreadable(
            "the body is JSON but not an object; it must look like "
            '{"Symbol": "BTCUSDT", "Action": "BuyMarket", ...}'
        )
    return _known(value)


def _decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"the body is not UTF-8 text (byte {error.start}); send text, not binary data"
        ) from None
    if "\x00" in text:
        raise Unreadable("the body holds a zero byte; send it as UTF-8 text, not binary data")
    if not text.strip():
        raise Unreadable("the body is empty; check the alert's message in TradingView")
    return text


def _check_depth(text: str) -> None:
    # A limit of our own, because Python's depends on how deep the caller already is.
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    in_string = False
    escaped_at = -1
    for match in _BRACKET_OR_QUOTE.finditer(text):
        position = match.start()
        if position == escaped_at:
            continue
        character = text[position]
        if character == "\\":
            escaped_at = position + 1
        elif character == '"':
            in_string = not in_string
        elif not in_string:
            depth += 1 if character in "{[" else -1
            if depth > MAX_DEPTH:
                raise Unreadable(
                    f"the body is nested deeper than {MAX_DEPTH} levels "
                    f"({_place(text, position)}); an alert is one flat object"
                )


def _known(members: tuple[tuple[str, object], ...]) -> dict[str, str | None]:
    fields: dict[str, str | None] = {}
    for key, value in members:
        name = _BY_LOWER_NAME.get(key) or _BY_LOWER_NAME.get(key.strip().lower())
        if name is None:
            continue
        text = _as_text(name, value)
        if name in fields and fields[name] != text:
            raise Unreadable(
                f'"{name}" is given twice with different values; keep the one that is meant'
            )
        fields[name] = text
    return fields


def _as_text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        kind = {bool: "true or false", tuple: "an object", list: "a list"}[type(value)]
        raise Unreadable(f'"{name}" holds {kind}; it must be a text or a number')
    text = value.strip()
    if len(text) <= 9 and text.lower() in _NO_VALUE:
        return None
    if _UNSTORABLE.search(text):
        raise Unreadable(f'"{name}" holds a character that is no text (zero or half a pair)')
    return text


def _scan(text: str) -> tuple[tuple[str, object], ...]:
    """Read half-JSON, each character once."""
    position = _skip(text, 0)
    if text[position] != "{":
        raise Unreadable(
            f"the body must begin with {{ but begins with {text[position : position + 20]!r}; "
            "send nothing around the object"
        )
    members: list[tuple[str, object]] = []
    position = _skip(text, position + 1)
    while not text.startswith("}", position):
        key, position = _scan_key(text, position)
        value, position = _scan_value(text, key, position)
        members.append((key, value))
        if text.startswith(",", position):
            position = _skip(text, position + 1)
        elif not text.startswith("}", position):
            _fail(
                text,
                position,
                f'after the value of "{key}" a comma or the closing }} is missing; '
                "check the quotation marks and commas around it",
            )
    rest = _skip(text, position + 1)
    if rest < len(text):
        _fail(text, rest, "something follows the object; send one object and nothing around it")
    return tuple(members)


def _scan_key(text: str, position: int) -> tuple[str, int]:
    plain = _PLAIN_KEY.match(text, position)
    if plain:
        return plain.group(1), plain.end()
    if not text.startswith('"', position):
        _fail(text, position, 'a field name in double quotation marks is missing, like "Action":')
    key, position = _strict(text, position, "a field name")
    position = _skip(text, position)
    if not text.startswith(":", position):
        _fail(
            text,
            position,
            f"after {str(key)[:40]!r} a colon is missing; if it belongs to the value before it, "
            "put that whole value in double quotation marks",
        )
    return str(key), _skip(text, position + 1)


def _scan_value(text: str, key: str, position: int) -> tuple[object, int]:
    """The value beginning at `position`, and where the comma or brace after it is."""
    plain = _PLAIN_VALUE.match(text, position)
    if plain:
        return plain.group(1), plain.end()
    if text.startswith(('"', "{", "["), position):
        value, position = _strict(text, position, f'the value of "{key}"')
        return value, _skip(text, position)
    quote = text.find('"', position)
    stop = len(text) if quote < 0 else quote
    raw = text[position:stop].rstrip()
    if quote >= 0:
        if not raw.endswith(","):
            _fail(
                text,
                quote,
                f'the unquoted value of "{key}" runs into a quotation mark; put a comma before '
                "the next field, or put the value in double quotation marks",
            )
        end = position + len(raw) - 1
    else:
        if not raw.endswith("}"):
            _fail(
                text,
                len(text),
                f'after the value of "{key}" the body must end with }}; send the whole object and '
                "nothing behind it",
            )
        inner = raw[:-1].rstrip()
        end = position + len(inner) - 1 if inner.endswith(",") else position + len(raw) - 1
    unquoted = text[position:end].strip()
    _check_unquoted(text, key, unquoted, position)
    # As in JSON proper, so that a bare word means the same whatever stands beside it.
    return _BOOLEANS.get(unquoted, unquoted), end


def _check_unquoted(text: str, key: str, value: str, position: int) -> None:
    quote_it = f'put the value of "{key}" in double quotation marks'
    if _NOT_UNQUOTED.search(value):
        _fail(
            text,
            position,
            f'the unquoted value of "{key}" holds a brace or a line break; {quote_it}',
        )
    if "," not in value:
        return
    # `RSI, Prix: 5` may be an indicator's name or a field whose key lost its quotation marks.
    for part in value.split(",")[1:]:
        name, colon, _ = part.partition(":")
        if not part.strip() or (colon and name.strip().lower() in _BY_LOWER_NAME):
            _fail(
                text,
                position,
                f'the unquoted value of "{key}" may hold another field; '
                f"put field names in double quotation marks, or {quote_it}",
            )


def _strict(text: str, position: int, what: str) -> tuple[object, int]:
    """One proper JSON value; a failure ends the reading, so no character is read twice."""
    try:
        value: object
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        _fail(text, error.pos, f"{what} is not valid JSON ({error.msg}); check its quotation marks")
    return value, end


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line}, column {column}"


def _fail(text: str, position: int, reason: str) -> NoReturn:
    raise Unreadable(f"{_place(text, position)}: {reason}")
