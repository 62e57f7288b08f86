"""Whoever forges X-Forwarded-For stays who they are."""

from __future__ import annotations

import pytest

from aristobot.core.errors import Misconfigured
from aristobot.ingress.sources import TRADINGVIEW, SourcePolicy, parse_networks

PROXY = "10.0.0.7"
BEHIND_PROXY = SourcePolicy(parse_networks("tradingview"), parse_networks("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", ["52.89.214.238"], "203.0.113.9"),  # no proxy of ours: not believed
        (PROXY, ["52.89.214.238"], "52.89.214.238"),
        (PROXY, ["52.89.214.238, 203.0.113.9"], "203.0.113.9"),  # the left part is a claim
        (PROXY, ["52.89.214.238", "203.0.113.9"], "203.0.113.9"),  # also in two headers
        (PROXY, ["203.0.113.9, 10.1.1.1"], "203.0.113.9"),  # our own proxies are skipped
        (PROXY, [], PROXY),
        (PROXY, ["nonsense"], "nonsense"),
        (PROXY, ["10.1.1.1"], PROXY),
    ],
)
def test_the_client_is_the_last_address_that_is_not_our_proxy(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert BEHIND_PROXY.client_address(peer, forwarded) == client


@pytest.mark.parametrize("address", TRADINGVIEW)
def test_tradingview_is_let_in(address: str) -> None:
    assert BEHIND_PROXY.is_allowed(address)
    assert BEHIND_PROXY.is_allowed(f"::ffff:{address}")


@pytest.mark.parametrize("address", ["203.0.113.9", "nonsense", "", "::1", "52.89.214.239"])
def test_others_are_not(address: str) -> None:
    assert not BEHIND_PROXY.is_allowed(address)


def test_without_a_list_everybody_may_call() -> None:
    assert SourcePolicy().is_allowed("203.0.113.9")


@pytest.mark.parametrize("text", ["300.1.1.1", "10.0.0.1/8", "tradingvieww", "1.2.3.4;5.6.7.8"])
def test_a_wrong_list_is_refused_by_name(text: str) -> None:
    with pytest.raises(Misconfigured, match="is not an address or network"):
        parse_networks(text)
