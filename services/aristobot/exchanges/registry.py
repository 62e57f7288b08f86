"""From the names in a `Broker` resource to a client: the one place that lists the venues.

Whoever needs an exchange asks here and then knows only the port. Not here: where credentials come
from, and connecting (the caller decides when).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.binance.market_stream import BinanceMarketStream
from aristobot.exchanges.binance.urls import market_url_for, urls_for
from aristobot.exchanges.port import ExchangeClient, MarketStream

Factory = Callable[[str, str, str, str | None, str | None], ExchangeClient]
StreamFactory = Callable[[str, str | None], MarketStream]


def _binance(
    environment: str, api_key: str, api_secret: str, base_url: str | None, ws_url: str | None
) -> ExchangeClient:
    urls = urls_for(environment, base_url=base_url, ws_url=ws_url)
    return BinanceClient(urls, api_key=api_key, api_secret=api_secret)


def _binance_market(environment: str, ws_url: str | None) -> MarketStream:
    return BinanceMarketStream(market_url_for(environment, ws_url=ws_url))


_VENUES: Mapping[str, Factory] = {"binance": _binance}
_MARKETS: Mapping[str, StreamFactory] = {"binance": _binance_market}
EXCHANGES = tuple(_VENUES)


def create_client(
    exchange: str,
    environment: str,
    *,
    api_key: str,
    api_secret: str,
    base_url: str | None = None,
    ws_url: str | None = None,
) -> ExchangeClient:
    """A client that is not connected yet; call it inside a running event loop.

    `environment` is `live`, `testnet`, `demo` or `simulator` (which needs `base_url`). Raises
    `Misconfigured` for an unknown venue or environment, unusable addresses or credentials.
    """
    factory = _VENUES.get(exchange)
    if factory is None:
        known = ", ".join(EXCHANGES)
        raise Misconfigured(f"There is no exchange {exchange!r}; known are {known}.")
    return factory(environment, api_key, api_secret, base_url, ws_url)


def create_market_stream(
    exchange: str, environment: str, *, ws_url: str | None = None
) -> MarketStream:
    """The public trades of an exchange in one environment; not connected yet.

    `ws_url`: origin of the market streams, which the simulator has no fixed one of. Raises
    `Misconfigured` for an exchange without a market stream or an unusable address.
    """
    factory = _MARKETS.get(exchange)
    if factory is None:
        known = ", ".join(_MARKETS)
        raise Misconfigured(f"{exchange!r} has no market stream yet; there is one for {known}.")
    return factory(environment, ws_url)
