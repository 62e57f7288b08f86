"""Requests that go wrong, one `Case` each: what is sent, and what must become of it.

`test_bad_input` sends them all to one platform and judges. Here nothing is checked.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

LIMIT = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """`text` is everything that came back, headers included where a socket was read raw."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True)
class Door:
    """Where to send: the ingress' address, and tokens by broker name (`owner`: the owner's)."""

    port: int
    tokens: Mapping[str, str]

    @property
    def token(self) -> str:
        return self.tokens["bad"]

    def send(
        self,
        path: str,
        body: bytes = b"{}",
        *,
        method: str = "POST",
        headers: list[tuple[str, str]] | None = None,
        chunked: bool = False,
    ) -> Answer:
        """One request; `path` goes out exactly as it stands here."""
        content: Any = iter([body[:1000], body[1000:]]) if chunked else body
        with httpx.Client(trust_env=False, timeout=10) as client:
            answer = client.request(
                method,
                f"http://127.0.0.1:{self.port}",
                content=content,
                headers=headers or [],
                # httpx would tidy dots and escapes up.
                extensions={"target": path.encode("latin-1")},
            )
        return Answer(answer.status_code, answer.text, answer.headers)

    def alert(self, body: bytes, to: str = "bad", **options: Any) -> Answer:
        return self.send(f"/webhook/{self.tokens[to]}", body, **options)

    def raw(self, request: bytes) -> Answer:
        """Write bytes to the socket and read until it is closed, or nothing more comes."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(request)
            connection.settimeout(1.0)
            # What comes before a reset or a silence is the answer.
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while chunk := connection.recv(65_536):
                    received += chunk
        text = received.decode("latin-1")
        return Answer(int(text.split(" ", 2)[1]) if text else 0, text, {})


@dataclass(frozen=True)
class Case:
    """`outcome` and `code` None: nothing is recorded. `broker`: in whose name it is recorded."""

    name: str
    send: Callable[[Door], Answer]
    status: int = 200
    outcome: str | None = None
    code: str | None = None
    broker: str = "bad"


def fields(indicator: str, **changes: object) -> dict[str, object]:
    """A good alert of this moment that buys, but for `changes`; None leaves a field out."""
    good: dict[str, object] = {
        "Symbol": "BTCUSDT",
        "Interval": "1",
        "BarTime": datetime.now(UTC).isoformat(),
        "Action": "BuyMarket",
        "PourCent": 1,
        "IndicateurName": indicator,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def alert(indicator: str, **changes: object) -> bytes:
    return json.dumps(fields(indicator, **changes)).encode()


def padded(size: int) -> bytes:
    """A PING of exactly `size` bytes."""
    body = alert("padded", Action="PING", comment="")
    return body.replace(b'"comment": ""', b'"comment": "' + b"x" * (size - len(body)) + b'"')


def _refused(name: str, code: str, **changes: object) -> Case:
    """An alert that is refused for one wrong field."""
    return Case(name, lambda door: door.alert(alert(name, **changes)), 200, "rejected", code)


def _unreadable(name: str, body: bytes) -> Case:
    return Case(name, lambda door: door.alert(body), 200, "rejected", "unreadable")


def _elsewhere(name: str, path: Callable[[str], str], status: int) -> Case:
    return Case(name, lambda door: door.send(path(door.token), alert(name)), status)


def _method(method: str) -> Case:
    return Case(
        f"method {method}",
        lambda door: door.send(f"/webhook/{door.token}", alert(method), method=method),
        405,
    )


def _headers(name: str, make: Callable[[Door], list[tuple[str, str]]], path: str) -> Case:
    def send(door: Door) -> Answer:
        return door.send(path.format(token=door.token), alert(name), headers=make(door))

    return Case(name, send, 401)


def _raw(name: str, make: Callable[[Door, bytes], bytes], status: int = 400) -> Case:
    return Case(name, lambda door: door.raw(make(door, alert(name))), status)


def _head(door: Door, *headers: str) -> bytes:
    lines = (f"POST /webhook/{door.token} HTTP/1.1", "Host: localhost", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


def _smuggled(door: Door, body: bytes) -> bytes:
    return _head(door, f"Content-Length: {len(body)}") + body


AUTHENTICATION = (
    Case("wrong token", lambda door: door.send("/webhook/" + "A" * 43, alert("x")), 401),
    Case("a token too long", lambda door: door.send("/webhook/" + "A" * 5000, alert("x")), 401),
    Case("no token", lambda door: door.send("/webhook", alert("x")), 401),
    Case("no token after the slash", lambda door: door.send("/webhook/", alert("x")), 401),
    _elsewhere("token with one letter more", lambda token: f"/webhook/{token}A", 401),
    _elsewhere("token with one letter less", lambda token: f"/webhook/{token[:-1]}", 401),
    _elsewhere("token in other case", lambda token: f"/webhook/{token.swapcase()}", 401),
    _elsewhere("token in the query only", lambda token: f"/webhook?token={token}", 401),
    _elsewhere("token in the query, slash", lambda token: f"/webhook/?token={token}", 401),
    _elsewhere(
        "token in the query, wrong one in the path",
        lambda token: f"/webhook/{'A' * 43}?token={token}&X-Webhook-Token={token}",
        401,
    ),
    _headers(
        "token in a cookie",
        lambda door: [("cookie", f"token={door.token}; x-webhook-token={door.token}")],
        "/webhook",
    ),
    _headers(
        "token as bearer", lambda door: [("authorization", f"Bearer {door.token}")], "/webhook"
    ),
    _headers(
        "two tokens, path and header",
        lambda door: [("x-webhook-token", "A" * 43)],
        "/webhook/{token}",
    ),
    _headers(
        "two tokens, both true",
        lambda door: [("x-webhook-token", door.tokens["off"])],
        "/webhook/{token}",
    ),
    _headers(
        "two headers",
        lambda door: [("x-webhook-token", door.token), ("x-webhook-token", "A" * 43)],
        "/webhook",
    ),
    _headers(
        "two tokens in one header",
        lambda door: [("x-webhook-token", f"{door.token}, {'A' * 43}")],
        "/webhook",
    ),
    _headers("an empty header", lambda door: [("x-webhook-token", "")], "/webhook"),
    _headers(
        "header name with an underscore",
        lambda door: [("x_webhook_token", door.token)],
        "/webhook",
    ),
)

PATHS = (
    _elsewhere("encoded slash before the token", lambda token: f"/webhook%2F{token}", 404),
    _elsewhere("encoded slash after the token", lambda token: f"/webhook/{token}%2F", 401),
    _elsewhere("encoded dots", lambda token: f"/webhook/{'A' * 43}%2F..%2F{token}", 401),
    _elsewhere("dots", lambda token: f"/webhook/../webhook/{token}", 404),
    _elsewhere("encoded name", lambda token: f"/%77ebhook/{token}", 404),
    _elsewhere(
        "encoded letter of the token",
        lambda token: f"/webhook/%{ord(token[0]):02X}{token[1:]}",
        401,
    ),
    _elsewhere("double slash", lambda token: f"/webhook//{token}", 404),
    _elsewhere("leading double slash", lambda token: f"//webhook/{token}", 404),
    _elsewhere("slash behind the token", lambda token: f"/webhook/{token}/", 404),
    _elsewhere("more path behind the token", lambda token: f"/webhook/{token}/admin", 404),
    _elsewhere("encoded zero byte", lambda token: f"/webhook/{token}%00", 401),
    _elsewhere("encoded line break", lambda token: f"/webhook/{token}%0d%0aX-A:%20b", 401),
    _elsewhere("semicolon", lambda token: f"/webhook/{token};v=1", 401),
    _elsewhere("capitals", lambda token: f"/WEBHOOK/{token}", 404),
    _elsewhere("another name", lambda token: f"/webhooks/{token}", 404),
    _elsewhere("the root", lambda token: "/", 404),
    _elsewhere("the root with the token", lambda token: f"/{token}", 404),
    _elsewhere("posting to healthz", lambda token: "/healthz", 405),
    *(_method(name) for name in ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
)

SIZES = (
    Case("one byte too many", lambda door: door.alert(padded(LIMIT + 1)), 413),
    Case("one too many, chunked", lambda door: door.alert(padded(LIMIT + 1), chunked=True), 413),
    Case("huge", lambda door: door.alert(b"[" * (8 * 1024 * 1024)), 413),
    Case("exactly 64 KiB", lambda door: door.alert(padded(LIMIT)), 200, "processed"),
    Case(
        "exactly 64 KiB, chunked",
        lambda door: door.alert(padded(LIMIT - 1) + b" ", chunked=True),
        200,
        "processed",
    ),
    Case(
        "huge with a wrong token",
        lambda door: door.send("/webhook/" + "A" * 43, b"[" * (8 * 1024 * 1024)),
        401,
    ),
)

SMUGGLING = (
    _raw(
        "chunked and a length",
        lambda door, body: (
            _head(door, "Transfer-Encoding: chunked", "Content-Length: 4")
            + b"0\r\n\r\n"
            + _smuggled(door, body)
        ),
    ),
    _raw(
        "a length and chunked",
        lambda door, body: (
            _head(door, "Content-Length: 4", "Transfer-Encoding: chunked")
            + b"1\r\nZ\r\n0\r\n\r\n"
            + _smuggled(door, body)
        ),
    ),
    _raw(
        "two lengths",
        lambda door, body: (
            _head(door, "Content-Length: 0", f"Content-Length: {len(body)}")
            + body
            + _smuggled(door, body)
        ),
    ),
    _raw(
        "an unknown transfer encoding",
        lambda door, body: (
            _head(door, "Transfer-Encoding: xchunked", "Content-Length: 4")
            + b"0\r\n\r\n"
            + _smuggled(door, body)
        ),
    ),
    _raw(
        "a negative length",
        lambda door, body: _head(door, "Content-Length: -5") + _smuggled(door, body),
    ),
    _raw(
        "a space before the colon",
        lambda door, body: _head(door, f"Content-Length : {len(body)}") + body,
    ),
    _raw("no HTTP at all", lambda door, body: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9),
    _raw(
        "a zero byte in a header",
        lambda door, body: _head(door, "X-A: \x00", f"Content-Length: {len(body)}") + body,
    ),
)

UNREADABLE = (
    _unreadable("empty", b""),
    _unreadable("blank", b" \r\n\t "),
    _unreadable("every byte there is", bytes(range(256)) * 16),
    _unreadable("gzip", gzip.compress(alert("gzip"))),
    _unreadable("UTF-16", alert("utf-16").decode().encode("utf-16")),
    _unreadable("invalid UTF-8", alert("x").replace(b'"x"', b'"\xc3\x28"')),
    _unreadable("deep arrays", b"[" * 30_000 + b"]" * 30_000),
    _unreadable("deep objects", b'{"a":' * 9_000 + b"1" + b"}" * 9_000),
    _unreadable("deep in an unknown field", alert("x", comment="@").replace(b'"@"', b"[" * 9_000)),
    _unreadable("an array", b"[" + alert("x") + b"]"),
    _unreadable("a text", b'"BuyMarket"'),
    _unreadable("a number", b"1e999999999"),
    _unreadable("null", b"null"),
    _unreadable("cut off", alert("x")[:-20]),
    _unreadable("two objects", alert("x") + alert("x")),
    _unreadable("a field twice", alert("x")[:-1] + b', "PourCent": 50}'),
    _unreadable("action is an object", alert("x", Action={"a": 1})),
    _unreadable("action is a list", alert("x", Action=["BuyMarket"])),
    _unreadable("symbol is true", alert("x", Symbol=True)),
    _unreadable("percent is true", alert("x", PourCent=True)),
    _unreadable("percent is a list", alert("x", PourCent=[1])),
    _unreadable("a zero character in the symbol", alert("x", Symbol="BTC\0USDT")),
    _unreadable("a zero character in a text", alert("zero \0 inside")),
    _unreadable("a bare zero byte", alert("x").replace(b"BTC", b"BTC\0")),
    _unreadable("a lone surrogate", alert("half \ud800 a pair")),
    _unreadable("a lone low surrogate", alert("\udc00")),
    _unreadable("HTML", b"<!doctype html><script>alert(1)</script>"),
    _unreadable("a form", b"Action=BuyMarket&Symbol=BTCUSDT&PourCent=5"),
)

MEANINGLESS = (
    _refused("no action", "no_action", Action=None),
    _refused("unknown action", "unknown_action", Action="Buy"),
    _refused("injection as action", "unknown_action", Action="'; DROP TABLE webhooks; --"),
    _refused("no symbol", "no_symbol", Symbol=None),
    _refused("symbol is a number", "unknown_symbol", Symbol=123456),
    _refused("unknown symbol", "unknown_symbol", Symbol="NOSUCHUSDT"),
    _refused("symbol with a path", "bad_symbol", Symbol="../../BTCUSDT?x=1"),
    _refused("symbol with a subject wildcard", "bad_symbol", Symbol="BTC.>"),
    _refused("very long symbol", "bad_symbol", Symbol="B" * 5000),
    _refused("perpetual", "not_spot", Symbol="BINANCE:BTCUSDT.P"),
    _refused("dated future", "not_spot", Symbol="BTCUSDT_261225"),
    _refused("negative percent", "bad_percent", PourCent=-5),
    _refused("zero percent", "bad_percent", PourCent=0),
    _refused("over 100 percent", "bad_percent", PourCent=100.0001),
    _refused("a thousand percent", "bad_percent", PourCent="1000"),
    _refused("no percent", "no_percent", PourCent=None),
    _refused("percent is NaN", "no_percent", PourCent=float("nan")),
    _refused("percent is infinite", "no_percent", PourCent=float("inf")),
    _refused("percent is a word", "bad_number", PourCent="half"),
    _refused("percent of huge exponent", "bad_number", PourCent="1e999999999"),
    _refused("percent in other digits", "bad_number", PourCent="\u0665"),
    _refused("percent of 5000 digits", "bad_number", PourCent="1" * 5000),
    _refused("negative price", "bad_number", Prix=-1),
    _refused("too little to trade", "too_small", PourCent="0.0001"),
    _refused("limit order without a price", "no_price", Action="BuyLimit", Prix=None),
    _refused("limit order at NaN", "no_price", Action="BuyLimit", Prix=float("nan")),
    _refused("limit order at 0", "no_price", Action="SellLimit", Prix=0),
    _refused("limit order far away", "too_small", Action="BuyLimit", Prix="0.01", PourCent="0.01"),
    _refused("selling what isn't held", "nothing_held", Action="SellMarket", Symbol="DOGEUSDT"),
    _refused("unknown interval", "bad_interval", Interval="5 minutes"),
    _refused("unknown bar time", "bad_bar_time", BarTime="yesterday"),
    _refused("bar time out of range", "bad_bar_time", BarTime="9" * 30),
    _refused("bar time in the future", "in_future", BarTime="2099-01-01T00:00:00Z"),
    _refused("very long name", "too_long", UserID="x" * 5000),
    Case(
        "replay of an old alert",
        lambda door: door.alert(
            alert("old", BarTime=(datetime.now(UTC) - timedelta(minutes=20)).isoformat())
        ),
        200,
        "rejected",
        "stale",
    ),
    Case(
        "mode off",
        lambda door: door.alert(alert("x"), "off"),
        200,
        "ignored",
        "trading_mode",
        "off",
    ),
    Case(
        "mode strategy",
        lambda door: door.alert(alert("x"), "strategy"),
        200,
        "ignored",
        "trading_mode",
        "strategy",
    ),
    Case(
        "unknown broker",
        lambda door: door.alert(alert("x", UserExchangeID="nosuch"), "owner"),
        200,
        "rejected",
        "unknown_broker",
        "_unrouted",
    ),
    Case(
        "unknown broker number",
        lambda door: door.alert(alert("y", UserExchangeID=4711), "owner"),
        200,
        "rejected",
        "unknown_broker",
        "_unrouted",
    ),
    Case(
        "broker as a subject",
        lambda door: door.alert(alert("z", UserExchangeID="bad.>"), "owner"),
        200,
        "rejected",
        "unknown_broker",
        "_unrouted",
    ),
    Case(
        "no broker",
        lambda door: door.alert(alert("no broker"), "owner"),
        200,
        "rejected",
        "unknown_broker",
        "_unrouted",
    ),
    Case(
        "unreadable with the owner's token",
        lambda door: door.alert(b"\xff\xfe", "owner"),
        200,
        "rejected",
        "unreadable",
        "_unrouted",
    ),
)

#: Odd, and still to be taken as what they are.
ODD = (
    Case(
        "owner's token and a broker's number",
        lambda door: door.alert(alert("by number", Action="PING", UserExchangeID=7), "owner"),
        200,
        "processed",
    ),
    Case(
        "the same token twice",
        lambda door: door.alert(
            alert("twice", Action="PING"), headers=[("x-webhook-token", door.token)]
        ),
        200,
        "processed",
    ),
    Case(
        "a query behind the token",
        lambda door: door.send(f"/webhook/{door.token}?a=b", alert("query", Action="PING")),
        200,
        "processed",
    ),
    Case(
        "odd headers",
        lambda door: door.raw(
            _head(
                door,
                "Content-Type: text/\xe9\xff" + "x" * 3000,
                "X-Forwarded-For: 52.89.214.238, \xff\x80",
                "traceparent: 00-" + "f" * 32 + "-zz",
                "Connection: close",
                "Content-Length: 18",
            )
            + b'{"Action": "PING"}'
        ),
        200,
        "processed",
    ),
    Case(
        "a forged trace",
        lambda door: door.alert(
            alert("forged", Action="PING"),
            headers=[("traceparent", f"00-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-00")],
        ),
        200,
        "processed",
    ),
    Case(
        "a lone surrogate in an unknown field",
        lambda door: door.alert(alert("unknown field", Action="PING", comment="\ud800 \0")),
        200,
        "processed",
    ),
    Case(
        "markup in a name",
        lambda door: door.alert(alert("[red]<b>'\"\\;--\u202e", Action="PING")),
        200,
        "processed",
    ),
)

CASES = (
    *AUTHENTICATION,
    *PATHS,
    *SIZES,
    *SMUGGLING,
    *UNREADABLE,
    *MEANINGLESS,
    *ODD,
)
