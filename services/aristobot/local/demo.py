"""What `aristobot up` comes with, unless `--no-demo`: a user and a broker with play money."""

from __future__ import annotations

from aristobot.contracts.resources import Broker, parse_document
from aristobot.platform.postgres_store import PostgresResourceStore

OWNER = "demo"
BROKER = "demo"

#: Alerts of any age trade here, so that a body from a file can be tried out.
_DOCUMENT = {
    "apiVersion": "trading.aristobot.io/v1alpha1",
    "kind": "Broker",
    "metadata": {"name": BROKER},
    "spec": {
        "exchange": "binance",
        "environment": "simulator",
        "tradingMode": "webhook",
        "number": 1,
        "webhook": {"maxSignalAgeSeconds": 0},
        "simulator": {"balances": {"USDT": "10000"}},
    },
}


async def apply_demo(store: PostgresResourceStore) -> None:
    """Make the demo broker where it is missing; one that the user has changed stays as it is."""
    if any(stored.name == BROKER for stored in await store.list(OWNER, "Broker")):
        return
    document = parse_document(_DOCUMENT)
    if isinstance(document, Broker):
        await store.apply(OWNER, document)
