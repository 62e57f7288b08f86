"""The bodies that are sent: a real alert with two places for a number that makes it distinct."""

from __future__ import annotations

from datetime import UTC, datetime

#: Proper JSON, so that the floor's model can read it. `%09d` in the price and the volume.
REAL_BODY = (
    b'{"Symbol": "BTCUSDT", "Exchange": "BINANCE", "Currency": "USDT", "BaseCurrency": "BTC", '
    b'"Interval": "15", "Open": 91870.12, "High": 91955.5, "Low": 91801, "Close": 91912.34, '
    b'"Volume": 148.%09d, "BarTime": "2025-11-20T10:15:00Z", "Action": "BuyMarket", '
    b'"Prix": 91912.%09d, "PrixSL": 90000, "PrixTP": 95000, "PourCent": 4.5, "UserID": "demo", '
    b'"IndicateurName": "RSI Divergence", "UserExchangeID": "demo"}'
)


def trade(number: int, broker: str) -> bytes:
    """A current alert that leads to an order: in turn 1 % of the USDT in, and half of it out.

    The indicator's name carries the number, so that no signal repeats another one's.
    """
    action, percent = ("BuyMarket", "1") if number % 2 == 0 else ("SellMarket", "50")
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        '{"Symbol": "BTCUSDT", "Exchange": "BINANCE", "Currency": "USDT", "BaseCurrency": "BTC", '
        '"Interval": "1", "Open": 91870.12, "High": 91955.5, "Low": 91801, "Close": 91912.34, '
        f'"Volume": 148.61237, "BarTime": "{now}", "Action": {action}, "Prix": NaN, '
        f'"PrixSL": NaN, "PrixTP": NaN, "PourCent": {percent}, "UserID": "demo", '
        f'"IndicateurName": "bench {number}", "UserExchangeID": "{broker}"}}'
    ).encode()
