"""Where each Binance environment lives, and which overrides are accepted.

Pure. Sources: exchange reference 2.1. The simulator has no fixed address, so its base must be
given; for the others an override is possible (a proxy, a regional host) but only encrypted, since
a key and signed orders travel over it, and prices are acted on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aristobot.core.errors import Misconfigured

WEBSOCKET_PATH = "/ws-api/v3"


@dataclass(frozen=True, slots=True)
class VenueUrls:
    """`rest` is the origin in front of `/api/v3/...`; `websocket` is the complete address."""

    rest: str
    websocket: str


_FIXED: Mapping[str, VenueUrls] = {
    "live": VenueUrls("https://api.binance.com", f"wss://ws-api.binance.com:443{WEBSOCKET_PATH}"),
    "testnet": VenueUrls(
        "https://testnet.binance.vision",
        f"wss://ws-api.testnet.binance.vision{WEBSOCKET_PATH}",
    ),
    "demo": VenueUrls(
        "https://demo-api.binance.com", f"wss://demo-ws-api.binance.com{WEBSOCKET_PATH}"
    ),
}
SIMULATOR = "simulator"
ENVIRONMENTS = (*_FIXED, SIMULATOR)


def urls_for(
    environment: str, *, base_url: str | None = None, ws_url: str | None = None
) -> VenueUrls:
    """Resolve the addresses of an environment; `Misconfigured` names what is wrong.

    A given `base_url` without `ws_url` puts the WebSocket API on the same host and port.
    """
    if environment not in ENVIRONMENTS:
        known = ", ".join(ENVIRONMENTS)
        raise Misconfigured(f"Binance has no environment {environment!r}; known are {known}.")
    if base_url is None:
        if environment == SIMULATOR:
            raise Misconfigured("The simulator environment needs a base URL.")
        fixed = _FIXED[environment]
        rest, websocket = fixed.rest, ws_url or fixed.websocket
    else:
        rest = base_url.rstrip("/")
        websocket = ws_url or f"ws{rest.removeprefix('http')}{WEBSOCKET_PATH}"
    may_be_plain = environment == SIMULATOR
    _check(rest, "http", may_be_plain=may_be_plain)
    _check(websocket, "ws", may_be_plain=may_be_plain)
    return VenueUrls(rest, websocket)


_MARKET: Mapping[str, str] = {
    "live": "wss://stream.binance.com:9443",
    "testnet": "wss://stream.testnet.binance.vision",
    "demo": "wss://demo-stream.binance.com",
}


def market_url_for(environment: str, *, ws_url: str | None = None) -> str:
    """The origin of the market streams, in front of `/stream`; `Misconfigured` as above."""
    if environment not in ENVIRONMENTS:
        known = ", ".join(ENVIRONMENTS)
        raise Misconfigured(f"Binance has no environment {environment!r}; known are {known}.")
    if ws_url is None and environment == SIMULATOR:
        raise Misconfigured("The simulator environment needs a WebSocket URL.")
    url = (ws_url or _MARKET[environment]).rstrip("/")
    _check(url, "ws", may_be_plain=environment == SIMULATOR)
    return url


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine (no proxy, no encryption needed)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check(url: str, scheme: str, *, may_be_plain: bool) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.hostname is not None and parts.port != 0
    except ValueError:  # an impossible port or a broken IPv6 literal
        usable = False
    if not usable or parts.scheme not in (scheme, f"{scheme}s"):
        raise Misconfigured(f"{url!r} is not a usable {scheme}(s) address.")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise Misconfigured("An exchange address must have no query, fragment or credentials.")
    if parts.scheme == scheme and not may_be_plain and not is_loopback(url):
        raise Misconfigured(f"{url!r} is not encrypted; use {scheme}s:// for a real exchange.")
