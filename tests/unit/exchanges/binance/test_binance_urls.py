"""Which addresses an environment resolves to, and which overrides are refused."""

from __future__ import annotations

import pytest

from aristobot.core.errors import Misconfigured
from aristobot.exchanges.binance.urls import urls_for
from aristobot.exchanges.registry import create_client


def test_fixed_environments() -> None:
    assert urls_for("live").rest == "https://api.binance.com"
    assert urls_for("testnet").rest == "https://testnet.binance.vision"
    assert urls_for("demo").websocket == "wss://demo-ws-api.binance.com/ws-api/v3"


def test_simulator_takes_its_websocket_from_the_base() -> None:
    urls = urls_for("simulator", base_url="http://127.0.0.1:8890/")
    assert urls.rest == "http://127.0.0.1:8890"
    assert urls.websocket == "ws://127.0.0.1:8890/ws-api/v3"
    assert urls_for("live", base_url="https://proxy.example").websocket.startswith("wss://proxy")


@pytest.mark.parametrize(
    ("environment", "base_url", "ws_url"),
    [
        ("paper", None, None),
        ("simulator", None, None),
        ("simulator", "127.0.0.1:8890", None),
        ("simulator", "ftp://127.0.0.1", None),
        ("simulator", "http://127.0.0.1:99999", None),
        ("simulator", "http://user:pw@127.0.0.1", None),
        ("simulator", "http://127.0.0.1", "http://127.0.0.1"),
        ("live", "http://api.example.com", None),
        ("live", None, "ws://api.example.com"),
    ],
)
def test_unusable_addresses(environment: str, base_url: str | None, ws_url: str | None) -> None:
    with pytest.raises(Misconfigured):
        urls_for(environment, base_url=base_url, ws_url=ws_url)


def test_registry() -> None:
    client = create_client("binance", "testnet", api_key="k", api_secret="s")
    assert client.order_window_ms == 3000
    with pytest.raises(Misconfigured, match="no exchange"):
        create_client("mtgox", "live", api_key="k", api_secret="s")
    with pytest.raises(Misconfigured, match="no environment"):
        create_client("binance", "paper", api_key="k", api_secret="s")
    with pytest.raises(Misconfigured, match="secret"):
        create_client("binance", "live", api_key="k", api_secret=" s")
