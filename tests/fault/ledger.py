"""What the platform wrote down, read straight from PostgreSQL, beside what the exchange did.

The tests judge by these two alone: rows that must be there, and the simulator's own list of
orders and balances.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import httpx

from tests.harness.platform import Platform

Row = dict[str, Any]

#: An order that the exchange takes only while it is younger than this (exchanges/binance/client).
ORDER_WINDOW_MS = 3000


@dataclass(frozen=True, slots=True)
class Signal:
    """One alert as its sender means it; `name` is unique and stands in its body."""

    name: str
    action: str = "BuyMarket"
    symbol: str = "BTCUSDT"
    percent: str = "1"
    bar_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    stop: str | None = None
    target: str | None = None

    @property
    def body(self) -> bytes:
        values = {
            "Symbol": self.symbol,
            "Interval": "1",
            "BarTime": self.bar_time.isoformat(timespec="milliseconds"),
            "Action": self.action,
            "PourCent": self.percent,
            "IndicateurName": self.name,
            "PrixSL": self.stop,
            "PrixTP": self.target,
        }
        return json.dumps(values).encode()


def bar(number: int) -> datetime:
    """The opening of the bar `number` minutes after a fixed moment."""
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number)


def post(url: str, body: bytes) -> httpx.Response:
    """Send an alert as TradingView would: cut off after 3 s."""
    return httpx.post(
        url, content=body, headers={"content-type": "text/plain"}, timeout=3.0, trust_env=False
    )


class Ledger:
    """Reads a running platform's tables as they are now. `url`: of its database."""

    def __init__(self, url: str) -> None:
        self._url = url

    @classmethod
    def of(cls, platform: Platform) -> Ledger:
        address = json.loads((platform.data / "run" / "address").read_text())
        return cls(address["database_url"])

    async def _rows(self, query: str, values: tuple[Any, ...]) -> list[Row]:
        connection = await asyncpg.connect(self._url, timeout=10)
        try:
            await connection.execute("SELECT set_config('aristobot.owner', '*', false)")
            return [dict(row) for row in await connection.fetch(query, *values, timeout=30)]
        finally:
            await connection.close(timeout=5)

    def rows(self, query: str, *values: Any) -> list[Row]:
        return asyncio.run(self._rows(query, values))

    def webhooks(self, indicator: str) -> list[Row]:
        return self.rows(
            "SELECT * FROM webhooks WHERE indicator = $1 ORDER BY stream_sequence", indicator
        )

    def order(self, command_id: str) -> Row | None:
        found = self.rows("SELECT * FROM orders WHERE command_id = $1", command_id)
        return found[0] if found else None

    def journal(self, command_id: str) -> list[Row]:
        return self.rows("SELECT * FROM journal WHERE command_id = $1 ORDER BY id", command_id)

    def outbox(self, *brokers: str) -> int:
        """How many messages wait to be published; of these brokers, or of all."""
        of_them = "cardinality($1::text[]) = 0 OR split_part(producer, '.', 2) = ANY($1)"
        count: int = self.rows(f"SELECT count(*) AS n FROM outbox WHERE {of_them}", brokers)[0]["n"]
        return count

    def positions(self, broker: str) -> dict[str, Decimal]:
        rows = self.rows("SELECT symbol, quantity FROM positions WHERE broker = $1", broker)
        return {row["symbol"]: row["quantity"] for row in rows}


@dataclass(frozen=True, slots=True)
class Account:
    """A broker's simulated account. `url`: the simulator's."""

    url: str
    api_key: str

    @classmethod
    def of(cls, platform: Platform, broker: str) -> Account:
        return cls(platform.simulator_url, platform.secret(f"{broker}-simulator")["apiKey"])

    def orders(self) -> list[Row]:
        """Every order that the simulator ever accepted of it."""
        found: list[Row] = self._get("/control/orders", api_key=self.api_key)
        return found

    def holdings(self) -> dict[str, Decimal]:
        """Free and locked of every asset but the quote currency, by pair."""
        return {
            f"{asset}USDT": Decimal(balance["free"]) + Decimal(balance["locked"])
            for asset, balance in self._get(f"/control/accounts/{self.api_key}")["balances"].items()
            if asset != "USDT"
        }

    def _get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", params=query, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.json()


def differences(order: Row, placed: Row) -> list[str]:
    """In what an order's row differs from the same order at the exchange; empty when equal."""
    pairs = {
        "status": (order["status"], placed["status"]),
        "executed": (order["executed_quantity"], Decimal(placed["executed"])),
        "executed_quote": (order["executed_quote"], Decimal(placed["executed_quote"])),
        "symbol": (order["symbol"], placed["symbol"]),
        "side": (order["side"], placed["side"]),
        "exchange id": (order["exchange_order_id"], str(placed["id"])),
    }
    return [
        f"{order['client_order_id']}: {what} is {ours} here and {theirs} at the exchange"
        for what, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
