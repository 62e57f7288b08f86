"""The resources that the tests apply."""

from __future__ import annotations

_BROKER = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {{name: {name}}}
spec:
  exchange: binance
  environment: simulator
  tradingMode: {mode}
  webhook: {{maxSignalAgeSeconds: 0}}
  simulator: {{balances: {{USDT: 1000000}}}}
---
"""
_STRATEGY = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Strategy
metadata: {{name: {name}}}
spec:
  timeframe: 1m
  code: |
    class Tested(Strategy):
        def __init__(self, candles, balance, position=None):
            self.balance = balance
        def should_long(self):
            {should_long}
        def should_short(self):
            return False
        def calculate_position_size(self):
            return self.balance * 0.001
        def calculate_stop_loss(self):
            return 0.5
        def calculate_take_profit(self):
            return 0.9
---
"""
_ACTIVE = """
apiVersion: trading.aristobot.io/v1alpha1
kind: ActiveStrategy
metadata: {{name: {name}}}
spec:
  strategyRef: {{name: {strategy}}}
  brokerRef: {{name: {broker}}}
  symbol: BTCUSDT
  onDelete: {on_delete}
---
"""


def broker(name: str, mode: str = "webhook") -> str:
    """With a lot of play money, for alerts of whatever age."""
    return _BROKER.format(name=name, mode=mode)


def strategy(name: str, should_long: str = "return True") -> str:
    """Buys as soon as it holds nothing (`should_long`: one line), and never sells by itself."""
    return _STRATEGY.format(name=name, should_long=should_long)


def active(name: str, strategy: str, broker: str, on_delete: str = "detach") -> str:
    return _ACTIVE.format(name=name, strategy=strategy, broker=broker, on_delete=on_delete)
