"""Aristobot: TradingView alerts and strategies in, exchange orders out, nothing lost or doubled."""

__version__ = "0.1.0"
