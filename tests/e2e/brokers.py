"""Broker documents for e2e tests, and waiting until what was applied is in force."""

from __future__ import annotations

import json
from typing import Any

import httpx
import yaml

from tests.harness.platform import Platform, eventually


def broker(name: str, *, mode: str = "webhook", **spec: Any) -> str:
    """The YAML of a broker with play money; `spec` adds to it or replaces."""
    return yaml.safe_dump(
        {
            "apiVersion": "trading.aristobot.io/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": name},
            "spec": {
                "exchange": "binance",
                "environment": "simulator",
                "tradingMode": mode,
                **spec,
            },
        }
    )


def condition(platform: Platform, name: str) -> dict[str, Any]:
    """The broker's Ready condition; empty while there is none. Quicker than `aristobot get`."""
    rows = platform.rows("SELECT status::text FROM resources WHERE name = $1", name)
    conditions = json.loads(rows[0]["status"]).get("conditions", ()) if rows else ()
    return next((dict(found) for found in conditions if found["type"] == "Ready"), {})


def wait_until_ready(platform: Platform, *names: str) -> None:
    """Until each broker's gateway runs and ingress takes its token."""
    for name in names:
        eventually(
            lambda name=name: condition(platform, name).get("status") == "True",
            seconds=40,
            what=f"broker {name} getting ready",
        )
        url = platform.webhook_url(name)
        eventually(
            lambda url=url: post(url, b"not an alert").status_code == 200,
            what=f"the token of {name} being taken",
        )


def post(url: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> httpx.Response:
    """Send a body as TradingView does."""
    return httpx.post(
        url, content=body, headers={"content-type": content_type}, timeout=10, trust_env=False
    )


def set_price(platform: Platform, symbol: str, price: str) -> None:
    """Let the simulator's market jump; it goes on from there."""
    httpx.post(
        f"{platform.simulator_url}/control/price",
        json={"symbol": symbol, "price": price},
        timeout=10,
        trust_env=False,
    ).raise_for_status()
