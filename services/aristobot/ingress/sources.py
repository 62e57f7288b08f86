"""Who is calling: the client's address behind trusted proxies, and the list of allowed sources.

`X-Forwarded-For` is a claim of whoever sent it. It is read only when the connection comes from a
proxy that the operator trusts, and then from the right: the last address that is not itself a
trusted proxy is the client. Everything left of it may be forged and is never looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from aristobot.core.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: TradingView's addresses, as its help page on webhooks lists them ("tradingview" in the option).
TRADINGVIEW = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read a comma-separated list of addresses and networks; `tradingview` stands for its four."""
    networks: list[Network] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        for address in TRADINGVIEW if item.lower() == "tradingview" else (item,):
            try:
                networks.append(ipaddress.ip_network(address))
            except ValueError as error:
                raise Misconfigured(
                    f"{address!r} is not an address or network: write 203.0.113.7, "
                    "203.0.113.0/24 or tradingview"
                ) from error
    return tuple(networks)


def _contains(networks: Sequence[Network], address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """`allowed` empty: everybody may call. `trusted_proxies` empty: no header is believed."""

    allowed: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()

    def client_address(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address of the client. `forwarded_for`: the header's values as received."""
        if not self.trusted_proxies or not _contains(self.trusted_proxies, peer):
            return peer
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
        for hop in reversed(hops):
            if not _contains(self.trusted_proxies, hop):
                return hop
        return peer

    def is_allowed(self, address: str) -> bool:
        return not self.allowed or _contains(self.allowed, address)
