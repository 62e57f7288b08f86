"""The recorded market that lies beside the repository: real trades, and candles of their span.

See `README.md` of that folder. In a worktree the folder is found too; where there is none, tests
that need it say so and are skipped.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aristobot.core.candle_builder import Trade, to_ms
from aristobot.core.candles import Timeframe

SYMBOL = "XRPETH"
_HERE = Path(__file__).resolve().parents[1]
_PLACES = (_HERE.parent / "shared" / "data", _HERE.parents[1] / "shared" / "data")
FOLDER = next((place for place in _PLACES if place.is_dir()), None)
TRADES_FILE = "xrp_eth-trades-2019-10.csv.gz"
needs_recording = pytest.mark.skipif(FOLDER is None, reason="no recorded market in ../shared/data")

#: open, high, low, close, volume
Prices = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]


def path_of(name: str) -> Path:
    assert FOLDER is not None
    return FOLDER / name


def _rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(path_of(name), "rt") as file:
        yield from csv.DictReader(file)


def recorded_trades() -> list[Trade]:
    return [
        Trade(
            SYMBOL,
            int(row["id"]),
            Decimal(row["price"]),
            Decimal(row["amount"]),
            int(row["timestamp"]),
            int(row["timestamp"]),
        )
        for row in _rows(TRADES_FILE)
    ]


def recorded_candles(timeframe: Timeframe) -> dict[datetime, Prices]:
    """The exchange's own candles; those without a trade are absent."""
    return {
        datetime.fromisoformat(row["date"]).astimezone(UTC): (
            Decimal(row["open"]),
            Decimal(row["high"]),
            Decimal(row["low"]),
            Decimal(row["close"]),
            Decimal(row["volume"]),
        )
        for row in _rows(f"xrp_eth-{timeframe}-2019-10.csv.gz")
    }


def aggregated(timeframe: Timeframe) -> dict[datetime, Prices]:
    """The exchange's own minutes put together, by nothing of ours but the alignment."""
    groups: dict[datetime, list[Prices]] = {}
    for opened, prices in sorted(recorded_candles(Timeframe.M1).items()):
        groups.setdefault(_aligned(opened, timeframe), []).append(prices)
    return {
        opened: (
            rows[0][0],
            max(row[1] for row in rows),
            min(row[2] for row in rows),
            rows[-1][3],
            sum((row[4] for row in rows), Decimal(0)),
        )
        for opened, rows in groups.items()
    }


def expected(timeframe: Timeframe) -> dict[datetime, Prices]:
    """The exchange's own candles where they are recorded, else its minutes put together."""
    if timeframe in (Timeframe.M1, Timeframe.M5):
        return recorded_candles(timeframe)
    return aggregated(timeframe)


def _aligned(moment: datetime, timeframe: Timeframe) -> datetime:
    length = timeframe.length.total_seconds()
    return datetime.fromtimestamp(to_ms(moment) / 1000 // length * length, UTC)
