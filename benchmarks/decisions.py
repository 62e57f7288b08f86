"""Section: from a candle's close to the order command, with 1 and with 20 strategies on a signal.

Read from the traces that the platform keeps: from the moment a heartbeat begins to publish the
closed candle to the moment the engine publishes the command. The strategy decides on every candle
(it buys when it holds nothing, else sells), computes the two averages of the example, and its
entries are protected, so all parts do what they do for a real one. The strategies share one
account, whose orders are sized one after the other on settled balances: that is what 20 of them
wait for, so the decision itself, which they make side by side, is a row of its own.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.harness.platform import Platform, eventually, running_platform

from benchmarks.report import Section, percentile

_SPEED = 20  # a candle every 3 s
_MANY = 20
_STRATEGY = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {name: bench}
spec: {exchange: binance, environment: simulator, tradingMode: strategy}
---
apiVersion: trading.aristobot.io/v1alpha1
kind: Strategy
metadata: {name: turner}
spec:
  timeframe: 1m
  code: |
    import pandas_ta as ta

    class Turner(Strategy):
        def __init__(self, candles, balance, position=None):
            self.fast = ta.ema(candles["close"], length=10)
            self.slow = ta.ema(candles["close"], length=20)
        def should_long(self):
            return bool(self.fast.iloc[-1] > 0)
        def should_short(self):
            return bool(self.slow.iloc[-1] > 0)
        def calculate_position_size(self):
            return 100
        def calculate_stop_loss(self):
            return 0.2
        def calculate_take_profit(self):
            return 0.4
"""
_ACTIVE = """
apiVersion: trading.aristobot.io/v1alpha1
kind: ActiveStrategy
metadata: {{name: turner-{number}}}
spec:
  strategyRef: {{name: turner}}
  brokerRef: {{name: bench}}
  symbol: BTCUSDT
"""
_SENT = """
SELECT decided.name, (decided.start_ns - candle.start_ns) / 1e6 AS ms
FROM spans decided
JOIN (
    SELECT trace_id, min(start_ns) AS start_ns FROM spans
    WHERE name = 'send candles.closed' GROUP BY trace_id
) candle USING (trace_id)
WHERE decided.name IN ('send strategies.decided', 'send orders.commands')
  AND decided.start_ns > $1
"""


def run(folder: Path, *, quick: bool) -> Section:
    candles = 8 if quick else 40
    section = Section("Candle close to order command, strategies on one account")
    with running_platform(folder / "data", "--speed", str(_SPEED)) as platform:
        for count in (1, _MANY):
            _apply(platform, count)
            since = time.time_ns()
            time.sleep(candles * 60 / _SPEED)
            _add(section, count, candles, platform.rows(_SENT, since))
    section.notes.append(
        f"market at {_SPEED} times its speed, {candles} candles; every entry has stop and target"
    )
    return section


def _apply(platform: Platform, count: int) -> None:
    actives = [_ACTIVE.format(number=number) for number in range(count)]
    platform.apply("---".join([_STRATEGY, *actives]))

    def all_run() -> bool:
        found = platform.json("get", "activestrategies", "-o", "json")
        return sum(each.get("status", {}).get("phase") == "Running" for each in found) == count

    eventually(all_run, seconds=120, what=f"{count} strategies to run")


def _add(section: Section, count: int, candles: int, rows: list[dict[str, Any]]) -> None:
    name = "1 strategy" if count == 1 else f"{count} strategies"
    for what, span in (
        ("decision", "send strategies.decided"),
        ("order command", "send orders.commands"),
    ):
        took = [float(row["ms"]) for row in rows if row["name"] == span]
        if not took:
            raise RuntimeError(f"{name}: no {what} in {candles} candles")
        section.add(f"{name}, to the {what} p50", percentile(took, 0.50), "ms", note=f"{len(took)}")
        section.add(f"{name}, to the {what} p99", percentile(took, 0.99), "ms")
    section.raw[name] = rows
