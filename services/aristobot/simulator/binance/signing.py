"""Checking a request's signature and timestamp as Binance does (exchange reference 2.2, 3.2). Pure.

REST: HMAC-SHA256 over exactly the received bytes of the query followed by those of the body,
without the `signature` parameter. WebSocket API: over the parameters sorted by name, unencoded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from aristobot.simulator.binance.errors import BinanceError, bad_signature, illegal, missing

_PREFIX = b"signature="
_DEFAULT_WINDOW_MS = Decimal(5_000)
_LONGEST_WINDOW_MS = Decimal(60_000)
_AHEAD_MS = 1_000
_FIRST_MICROSECOND_STAMP = 10**14  # the year 5138 in ms, 1973 in µs


def split_payload(query: bytes, body: bytes) -> tuple[bytes, bytes | None]:
    """The signed bytes and the signature (the query's wins), still percent-encoded."""
    signed_query, query_signature = _without_signature(query)
    signed_body, body_signature = _without_signature(body)
    return signed_query + signed_body, query_signature or body_signature


def _without_signature(raw: bytes) -> tuple[bytes, bytes | None]:
    if _PREFIX not in raw:
        return raw, None
    kept: list[bytes] = []
    signature: bytes | None = None
    for part in raw.split(b"&"):
        if part.startswith(_PREFIX):
            signature = signature or part[len(_PREFIX) :]
        else:
            kept.append(part)
    return b"&".join(kept), signature


def sign(secret: bytes, payload: bytes) -> str:
    """The HMAC-SHA256 of `payload` in lower-case hex."""
    return hmac.new(secret, payload, hashlib.sha256).hexdigest()


def check_signature(secret: bytes, payload: bytes, signature: bytes | None) -> None:
    """Raise `BinanceError` -1102 when it is missing, -1022 when it is wrong (hex, any case)."""
    if not signature:
        raise missing("signature")
    if not hmac.compare_digest(sign(secret, payload).encode(), signature.lower()):
        raise bad_signature()


def websocket_payload(params: Mapping[str, object]) -> bytes:
    """What a WebSocket API request signs."""
    return "&".join(
        f"{name}={_text(params[name])}" for name in sorted(params) if name != "signature"
    ).encode()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class TimeWindow:
    """A request's own statement of when it was made and how long it is good for."""

    __slots__ = ("_timestamp_ms", "_window_ms")

    def __init__(self, timestamp: str | None, window: str | None) -> None:
        """Raise `BinanceError` for a missing or malformed `timestamp` or `recvWindow`."""
        if not timestamp:
            raise missing("timestamp")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 20):
            raise illegal("timestamp", "^[0-9]{1,20}$")
        stamp = Decimal(timestamp)
        self._timestamp_ms = stamp / 1000 if stamp >= _FIRST_MICROSECOND_STAMP else stamp
        self._window_ms = _DEFAULT_WINDOW_MS if window is None else _window(window)

    def check(self, now_ms: int) -> None:
        """Raise `BinanceError` -1021 when the request is too far ahead or too old."""
        if self._timestamp_ms >= now_ms + _AHEAD_MS:
            raise BinanceError(
                -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if now_ms - self._timestamp_ms > self._window_ms:
            raise BinanceError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _window(text: str) -> Decimal:
    try:
        window = Decimal(text)
    except InvalidOperation:
        raise illegal("recvWindow", r"^\d{1,5}(\.\d{1,3})?$") from None
    if not window.is_finite() or window < 0:
        raise illegal("recvWindow", r"^\d{1,5}(\.\d{1,3})?$")
    if window > _LONGEST_WINDOW_MS:
        raise BinanceError(-1131, "recvWindow must be less than 60000.")
    return window
