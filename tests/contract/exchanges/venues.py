"""What the suite has to know of each venue: how to make its client, and names for its markets."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from aristobot.exchanges.port import ExchangeClient
from aristobot.exchanges.registry import create_client


@dataclass(frozen=True)
class Venue:
    """One row of the matrix. `symbol` is BASE/QUOTE in the venue's own spelling."""

    exchange: str
    symbol: str
    base: str
    quote: str
    absent_symbol: str
    refusals: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    def client(self, origin: str, *, api_key: str, api_secret: str) -> ExchangeClient:
        return create_client(
            self.exchange, "simulator", api_key=api_key, api_secret=api_secret, base_url=origin
        )


PRICE = Decimal("50000")  # every case starts at this price
VENUES = (
    Venue(
        "binance",
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        absent_symbol="NOPEUSDT",
        refusals={
            "funds": "-2010",
            "notional": "-1013",
            "step": "-1013",
            "symbol": "-1121",
            "secret": "-1022",
            "key": "-2015",
        },
        paths={
            "account": "GET /api/v3/account",
            "cancel": "DELETE /api/v3/order",
            "place_list": "POST /api/v3/orderList/oco",
        },
    ),
)
