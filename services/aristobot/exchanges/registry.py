"""From the names in a `Broker` resource to a client: the one place that lists the venues.

Whoever needs an exchange asks here and then knows only the port. Not here: where credentials come
from, and connecting (the caller decides when).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.binance.urls import urls_for
from aristobot.exchanges.port import ExchangeClient

Factory = Callable[[str, str, str, str | None, str | None], ExchangeClient]


def _binance(
    environment: str, api_key: str, api_secret: str, base_url: str | None, ws_url: str | None
) -> ExchangeClient:
    urls = urls_for(environment, base_url=base_url, ws_url=ws_url)
    return BinanceClient(urls, api_key=api_key, api_secret=api_secret)


_VENUES: Mapping[str, Factory] = {"binance": _binance}
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
