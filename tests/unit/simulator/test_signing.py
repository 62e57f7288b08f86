"""The published signature examples (exchange reference 2.2) against the simulator's own check."""

from __future__ import annotations

import pytest

from aristobot.simulator.binance.errors import BinanceError
from aristobot.simulator.binance.signing import (
    TimeWindow,
    check_signature,
    sign,
    split_payload,
    websocket_payload,
)

SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
TAIL = b"side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
ORDER = b"symbol=LTCBTC&" + TAIL + b"&timestamp=1499827319559"
ORDER_SIGNATURE = b"c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
NON_ASCII = ORDER.replace(b"LTCBTC", b"%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96")


def test_published_rest_examples() -> None:
    assert sign(SECRET, ORDER).encode() == ORDER_SIGNATURE
    assert sign(SECRET, NON_ASCII) == (
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"
    )


@pytest.mark.parametrize("cut", [0, ORDER.index(b"quantity"), len(ORDER)])
def test_query_and_body_are_signed_as_one(cut: int) -> None:
    query, body = ORDER[:cut], ORDER[cut:]
    suffix = b"signature=" + ORDER_SIGNATURE.upper()
    for signed in (
        split_payload((query + b"&" if query else b"") + suffix, body),
        split_payload(query, (body + b"&" if body else b"") + suffix),
    ):
        payload, signature = signed
        assert payload == ORDER
        check_signature(SECRET, payload, signature)


def test_published_websocket_examples() -> None:
    order = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "0.01000000", "price": "52000.00", "recvWindow": 100,
        "timestamp": 1645423376532, "apiKey": API_KEY, "signature": "not signed",
    }  # fmt: skip
    assert sign(SECRET, websocket_payload(order)) == (
        "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
    )
    subscribe = {"timestamp": 1499827319559, "apiKey": API_KEY}
    assert sign(SECRET, websocket_payload(subscribe)) == (
        "a90524f2010ef58d33f2fb76f34c98bb19d22844f9fcead39559bd829640742e"
    )


def test_a_changed_byte_is_refused() -> None:
    with pytest.raises(BinanceError) as refused:
        check_signature(SECRET, ORDER.replace(b"quantity=1", b"quantity=2"), ORDER_SIGNATURE)
    assert refused.value.code == -1022


@pytest.mark.parametrize(
    ("timestamp", "window", "now", "code"),
    [
        ("100000", None, 105_000, None),
        ("100000", None, 105_001, -1021),
        ("100000", "60000", 160_000, None),
        ("100000", "1.5", 100_001, None),
        ("100000", "1.5", 100_002, -1021),
        ("100999", None, 100_000, None),
        ("101000", None, 100_000, -1021),
        ("1499827319559123", None, 1_499_827_319_560, None),
        (None, None, 0, -1102),
        ("12x", None, 0, -1100),
        ("²", None, 0, -1100),
        ("100000", "60001", 100_000, -1131),
        ("100000", "NaN", 100_000, -1100),
        ("100000", "-1", 100_000, -1100),
    ],
)
def test_time_window(timestamp: str | None, window: str | None, now: int, code: int | None) -> None:
    if code is None:
        TimeWindow(timestamp, window).check(now)
        return
    with pytest.raises(BinanceError) as refused:
        TimeWindow(timestamp, window).check(now)
    assert refused.value.code == code
