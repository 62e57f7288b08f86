"""The name of a market: an exchange in one environment, as a subject token and a column.

Candles of the simulator, of the testnet and of the live exchange are three different things, so
each has a name of its own and a strategy only ever sees its broker's.
"""

from __future__ import annotations

from aristobot.contracts.resources import Environment, Exchange


def market_id(exchange: Exchange, environment: Environment) -> str:
    """`binance`, `binance-testnet`, `binance-simulator`."""
    if environment is Environment.LIVE:
        return exchange.value
    return f"{exchange.value}-{environment.value}"


def parse_market(market: str) -> tuple[Exchange, Environment]:
    """The reverse. Raises `ValueError` when the name is not one of a market."""
    exchange, _, environment = market.partition("-")
    return Exchange(exchange), Environment(environment or Environment.LIVE.value)
