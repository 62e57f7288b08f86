"""A strategy at work as its user meets it: applied, traded, protected, sold, stopped."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.independent import ccxt_of
from tests.harness.platform import Platform, eventually, running_platform

#: Buys as soon as it holds nothing, so that a test need not wait for a crossing.
EAGER = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {name: paper}
spec: {exchange: binance, environment: simulator, tradingMode: strategy}
---
apiVersion: trading.aristobot.io/v1alpha1
kind: Strategy
metadata: {name: eager}
spec:
  timeframe: 1m
  code: |
    import pandas_ta as ta

    class Eager(Strategy):
        def __init__(self, candles, balance, position=None):
            self.candles, self.balance = candles, balance
            self.ema = ta.ema(candles["close"], length=10)
        def should_long(self):
            return bool(self.ema.iloc[-1] > 0)
        def should_short(self):
            return False
        def calculate_position_size(self):
            return self.balance * 0.1
        def calculate_stop_loss(self):
            return 0.2
        def calculate_take_profit(self):
            return 0.4
---
apiVersion: trading.aristobot.io/v1alpha1
kind: ActiveStrategy
metadata: {name: eager-btc}
spec:
  strategyRef: {name: eager}
  brokerRef: {name: paper}
  symbol: BTCUSDT
"""


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose market runs a minute a second."""
    data = tmp_path_factory.mktemp("fast") / "data"
    with running_platform(data, "--speed", "60") as platform:
        yield platform


def test_both_heartbeats_of_the_market_are_shown(fast: Platform) -> None:
    def look() -> list[dict[str, object]]:
        rows = fast.json("heartbeat-status", "--json")
        fine = [row for row in rows if row["state"] == "active" and row["last_message_at"]]
        return fine if len(fine) == 2 else []

    rows = eventually(look, what="two active heartbeats")
    assert [row["replica"] for row in rows] == ["heartbeat-a", "heartbeat-b"]
    assert {row["market"] for row in rows} == {"binance-simulator"}
    assert all(row["coherent"] and row["symbols"] >= 2 for row in rows)
    assert "heartbeat-a" in fast.run("heartbeat-status").stdout


def _orders(platform: Platform) -> list[dict[str, Any]]:
    return [order for order in platform.orders() if order["broker"] == "paper"]


def _entry(platform: Platform) -> dict[str, Any] | None:
    return next(
        (o for o in _orders(platform) if o["side"] == "buy" and o["status"] == "filled"), None
    )


def test_from_the_file_to_the_protected_position_and_out_again(fast: Platform) -> None:
    fast.apply(EAGER)
    entry = eventually(lambda: _entry(fast), seconds=60, what="the strategy's first order")
    assert entry["asked_by"] == "strategy"

    exchange = ccxt_of(fast, "paper")

    def protection() -> list[dict[str, Any]] | None:
        found = exchange.fetch_open_orders("BTC/USDT")
        return found if len(found) == 2 else None

    legs = eventually(protection, seconds=15, what="stop and target at the exchange")
    bought = exchange.fetch_balance()["BTC"]["total"]
    average = Decimal(entry["executed_quote"]) / Decimal(entry["executed_quantity"])
    assert {leg["side"] for leg in legs} == {"sell"}
    assert [leg["amount"] for leg in legs] == [pytest.approx(bought, rel=1e-3)] * 2
    # A stop has the price that triggers it, a target that rests the price it asks for.
    prices = sorted(float(leg["info"]["stopPrice"]) or float(leg["info"]["price"]) for leg in legs)
    assert prices == [
        pytest.approx(float(average) * 0.8, rel=1e-4),
        pytest.approx(float(average) * 1.4, rel=1e-4),
    ]

    status = eventually(lambda: _ready(fast), seconds=20, what="the active strategy to be Ready")
    assert status["phase"] == "Running"

    _the_trace_leads_back_to_the_candle(fast, entry)

    fast.run("strategy", "suspend", "eager-btc")
    fast.run("strategy", "sell", "eager-btc")

    def is_flat() -> bool:
        return not exchange.fetch_open_orders("BTC/USDT") and (
            exchange.fetch_balance().get("BTC", {}).get("total", 0) < 0.0001
        )

    eventually(is_flat, seconds=20, what="the position to be sold and its protection gone")
    bought_once = [o for o in _orders(fast) if o["side"] == "buy"]
    assert len(bought_once) == 1
    fast.run("strategy", "stop", "eager-btc", "--yes")
    stopped = fast.json("get", "activestrategy", "eager-btc", "-o", "json")
    assert stopped["spec"]["active"] is False


def _ready(platform: Platform) -> dict[str, Any] | None:
    status: dict[str, Any] = platform.json("get", "activestrategy", "eager-btc", "-o", "json").get(
        "status", {}
    )
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
    return status if ready else None


def _the_trace_leads_back_to_the_candle(platform: Platform, entry: dict[str, Any]) -> None:
    wanted = {
        "send candles.closed": "heartbeat",
        "process candles.closed": "runner",
        "decide strategy": "runner",
        "send strategies.decided": "runner",
        "process strategies.decided": "engine",
        "process orders.commands": "gateway",
        "POST binance": "gateway",
    }

    def whole() -> dict[str, str] | None:
        spans = {s["name"]: s["service"] for s in platform.spans(entry["trace_id"])}
        return spans if wanted.keys() <= spans.keys() else None

    spans = eventually(whole, seconds=20, what="the whole trace")
    assert {name: spans[name] for name in wanted} == wanted
