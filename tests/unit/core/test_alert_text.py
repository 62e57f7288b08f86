"""Reading an alert's body: what Pine really sends is read, what could mean two things isn't."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.alert_text import MAX_DEPTH, WIRE_FIELDS, Unreadable, read_fields

LIMIT = 64 * 1024


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' \r\n{"Action": "PING"}\n ', {"Action": "PING"}),
        (b'\xef\xbb\xbf{"Action": PING}', {"Action": "PING"}),
        (b'{"Prix": 0.10000000000000000001}', {"Prix": "0.10000000000000000001"}),
        (b'{"Prix": 1e999999, "Volume": 12}', {"Prix": "1e999999", "Volume": "12"}),
        (b'{"Prix": NaN, "PrixSL": -Infinity, "PrixTP": null}', dict.fromkeys(WIRE_FIELDS[12:15])),
        (b'{"Prix": "NaN", "PrixSL": " na ", "PrixTP": ""}', dict.fromkeys(WIRE_FIELDS[12:15])),
        (b'{"Prix": na, "PrixSL": , "PrixTP": NAN,}', dict.fromkeys(WIRE_FIELDS[12:15])),
        (b'{"Prix": }', {"Prix": None}),
        (b'{"action": BuyMarket, "SYMBOL ": "X"}', {"Action": "BuyMarket", "Symbol": "X"}),
        (
            b'{"BarTime": 2025-11-20T10:15:00Z, "Action": BuyMarket}',
            {"BarTime": "2025-11-20T10:15:00Z", "Action": "BuyMarket"},
        ),
        (
            b'{"IndicateurName": RSI: 14, close, 70/30 [v2], "Action": PING}',
            {"IndicateurName": "RSI: 14, close, 70/30 [v2]", "Action": "PING"},
        ),
        (b'{"IndicateurName": RSI, (9, 21)}', {"IndicateurName": "RSI, (9, 21)"}),
        (
            b'{\r\n "Action" : PING ,\r\n "Symbol" : "A" ,\r\n}\r\n',
            {"Action": "PING", "Symbol": "A"},
        ),
        (
            b'{"Action": PING, "extra": {"Prix": [1, {"a": "}"}]}, "more": [1], "yes": true}',
            {"Action": "PING"},
        ),
        (b'{"Action": PING, "IndicateurName": "a \\"b\\" \\u00e9"}', {"Action": "PING"}),
        (b'{"Action": "PING", "Action": "PING"}', {"Action": "PING"}),
        ('{"IndicateurName": Élan 📈}'.encode(), {"IndicateurName": "Élan 📈"}),
        (b'{"Open": ' + b"9" * 5000 + b"}", {"Open": "9" * 5000}),
    ],
)
def test_is_read(body: bytes, expected: dict[str, str | None]) -> None:
    fields = read_fields(body)
    assert {name: fields[name] for name in expected} == expected
    assert set(fields) <= set(WIRE_FIELDS)


def test_escapes_are_resolved_beside_unquoted_values() -> None:
    fields = read_fields(b'{"Action": PING, "IndicateurName": "a \\"b\\" \\u00e9, \\"c\\": 1"}')
    assert fields["IndicateurName"] == 'a "b" é, "c": 1'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "UTF-8"),
        (b'{"Action":\x00 "PING"}', "zero byte"),
        (b"BTCUSDT Crossing 91000", "must begin with {"),
        (b'Alert: {"Action": PING}', "must begin with {"),
        (b"5", "not an object"),
        (b'[{"Action": "PING"}]', "not an object"),
        (b'"PING"', "not an object"),
        (b"null", "not an object"),
        (b'{"Action": PING} thanks', "must end with }"),
        (b'{"Action": "PING"} thanks', "something follows"),
        (b'{"Action": BuyMarket}{"Action": SellMarket}', "quotation mark"),
        (b'{"Action": "BuyMarket"}{"Action": "SellMarket"}', "something follows"),
        (b'{"Action": BuyMarket}, {"Action": SellMarket}', "quotation mark"),
        (b'{"Action": BuyMarket}, "Symbol": "A"}', "brace"),
        (b'{"Action": BuyMarket', "must end with }"),
        (b'{"Action": "BuyMarket"', "comma or the closing }"),
        (b'{"Action": "BuyMarket', "quotation marks"),
        (b'{"Action', "field name"),
        (b'{"Action"', "colon"),
        (b'{"Action":', "must end with }"),
        (b"{", "field name"),
        (b"{Action: BuyMarket}", "field name in double quotation marks"),
        (b"{'Action': 'BuyMarket'}", "field name in double quotation marks"),
        (b'{"Action": BuyMarket "Prix": 1}', "runs into a quotation mark"),
        (b'{"Action": BuyMarket\n"Prix": 1}', "comma"),
        (b'{"Action": Buy"Market", "Prix": 1}', "quotation mark"),
        (b'{"Symbol": "BTCUSDT, "Exchange": "BINANCE"}', "comma or the closing }"),
        (b'{"IndicateurName": a, "b", "Prix": 1}', "colon is missing"),
        (b'{"IndicateurName": RSI\n14, "Prix": 1}', "line break"),
        (b'{"IndicateurName": RSI, PrixSL: 5, "Action": BuyMarket}', "another field"),
        (b'{"Action": BuyMarket,, "Prix": 1}', "line 1, column"),
        (b'{"Action": {{strategy.order.action}}}', "JSON"),
        (b'{"Action": "BuyMarket", "Action": "SellMarket"}', '"Action" is given twice'),
        (b'{"Action": "BuyMarket", "action": "SellMarket"}', '"Action" is given twice'),
        (b'{"PourCent": 5, "PourCent": NaN}', '"PourCent" is given twice'),
        (b'{"PourCent": 5, "PourCent": 50,}', '"PourCent" is given twice'),
        (b'{"Symbol": {"a": 1}}', "an object"),
        (b'{"Symbol": ["BTCUSDT"]}', "a list"),
        (b'{"Action": true}', "true or false"),
        (b'{"Action": true, "Symbol": BTCUSDT}', "true or false"),
        (b'{"Symbol": "BTC\\u0000"}', "no text"),
        (b'{"Symbol": "BTC\\ud800"}', "no text"),
        (b'{"Symbol": "A\\x"}', "not valid JSON"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper"),
        (b"[" * LIMIT, "nested deeper"),
        (b'{"Action": PING, "a": ' + b"[" * 60 + b"]" * 60 + b"}", "nested deeper"),
    ],
)
def test_is_not_guessed(body: bytes, says: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_fields(body)
    assert says in str(caught.value)
    assert caught.value.code == "unreadable"


def test_the_place_is_named() -> None:
    with pytest.raises(Unreadable, match=r'^line 3, column 13: after the value of "Prix"'):
        read_fields(b'{\n"Action": PING,\n"Prix": "1" x "PrixSL": "2"}')


def test_nesting_is_counted_outside_strings_only() -> None:
    brackets = "[" * 500 + '\\"{'
    body = b'{"Action": "PING", "comment": "' + brackets.encode() + b'"}'
    assert read_fields(body) == {"Action": "PING"}
    deepest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert read_fields(b'{"Action": "PING", "a": ' + deepest + b"}") == {"Action": "PING"}


def test_depth_does_not_depend_on_the_caller() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
            return
        with pytest.raises(Unreadable, match="nested"):
            read_fields(b"[" * LIMIT)

    deep(600)


ADVERSARIAL: dict[str, Callable[[int], bytes]] = {
    "opening brackets": lambda n: b"[" * n,
    "brackets in a string": lambda n: b'{"Action": PING, "a": "' + b"[" * n + b'"}',
    "one long value": lambda n: b'{"Action": ' + b"x" * n,
    "commas": lambda n: b'{"Action": ' + b"," * n + b"}",
    "commas and a key": lambda n: b'{"IndicateurName": ' + b"a, " * (n // 3) + b'"Prix": 1}',
    "spaces": lambda n: b'{"Action"' + b" " * n + b"x",
    "spaces in a value": lambda n: b'{"Action": a' + b" " * n + b"b}",
    "quotation marks": lambda n: b'{"Action": PING, ' + b'"' * n,
    "escaped quotation marks": lambda n: b'{"Action": PING, "a": "' + b'\\"' * (n // 2),
    "backslashes": lambda n: b'{"Action": PING, "a": ' + b"\\" * n,
    "many members": lambda n: b"{" + b'"a":b,' * (n // 6) + b"}",
    "many empty members": lambda n: b"{" + b'"":,' * (n // 4) + b"}",
    "many quoted members": lambda n: b'{"Action":PING,' + b'"a":"\\n",' * (n // 9) + b"}",
    "many nested members": lambda n: b'{"Action":PING,' + b'"a":[],' * (n // 7) + b"}",
    "colons": lambda n: b'{"Action": PING, "a"' + b":" * n + b"}",
    "line breaks": lambda n: b'{"Action": PING,' + b"\n" * n + b"x",
    "digits": lambda n: b'{"Prix": ' + b"1" * n + b"}",
    "braces": lambda n: b'{"Action": PING' + b"}" * n,
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_time_is_linear(name: str) -> None:
    make = ADVERSARIAL[name]
    small, large = make(LIMIT // 8), make(LIMIT)
    # Linear is 8, quadratic is 64; the milliseconds added hide the clock's and cache's noise.
    assert _seconds(large) + 0.001 < 24 * (_seconds(small) + 0.001)


def _seconds(body: bytes) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        try:
            read_fields(body)
        except Unreadable:
            times.append(time.process_time() - start)
        else:
            times.append(time.process_time() - start)
    return min(times)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_unreadable(body: bytes) -> None:
    _read_or_unreadable(body)


@given(st.text(alphabet='{}[]":,\\ \n\r\tabAN01.', max_size=60))
def test_any_punctuation_is_read_or_unreadable(text: str) -> None:
    _read_or_unreadable(text.encode())
    _read_or_unreadable(b'{"Action": ' + text.encode() + b', "Prix": 1}')


def _read_or_unreadable(body: bytes) -> None:
    try:
        fields = read_fields(body)
    except Unreadable:
        return
    for name, value in fields.items():
        assert name in WIRE_FIELDS
        assert value is None or value.encode().strip()


_TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\{}[],'), min_size=1
).filter(
    lambda text: text == text.strip() and text.lower() not in {"na", "nan", "null", "true", "false"}
)
_FIELDS = st.dictionaries(st.sampled_from(WIRE_FIELDS), _TEXTS, min_size=1)


@given(_FIELDS, st.sampled_from([", ", ",", " ,\r\n  "]), st.booleans())
def test_quoted_and_unquoted_read_the_same(
    fields: dict[str, str], comma: str, has_trailing_comma: bool
) -> None:
    quoted = json.dumps(fields).encode()
    members = comma.join(f'"{name}": {value}' for name, value in fields.items())
    unquoted = "{" + members + (comma if has_trailing_comma else "") + "}"
    expected = {
        name: None if value.lower() in {"infinity", "-infinity"} else value
        for name, value in fields.items()
    }
    assert read_fields(quoted) == expected
    assert read_fields(unquoted.encode()) == expected
