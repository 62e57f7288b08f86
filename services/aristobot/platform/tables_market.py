"""The tables of the shared market data: candles, and how the heartbeats fare. No row has an owner.

`candles` is partitioned by month of `open_time`; the heartbeat makes a month's partition before it
stores the first candle of it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    func,
)

from aristobot.platform.tables_base import metadata


def _moment(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


# `is_late`: fetched after a gap. `stored_by`: the heartbeat replica that came first.
candles = Table(
    "candles",
    metadata,
    Column("market", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    Column("open_time", DateTime(timezone=True), primary_key=True),
    Column("open", Numeric, nullable=False),
    Column("high", Numeric, nullable=False),
    Column("low", Numeric, nullable=False),
    Column("close", Numeric, nullable=False),
    Column("volume", Numeric, nullable=False),
    Column("quote_volume", Numeric, nullable=False),
    Column("trades", Integer, nullable=False),
    Column("is_late", Boolean, nullable=False),
    Column("stored_by", Text, nullable=False),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    postgresql_partition_by="RANGE (open_time)",
)

# One row per replica, rewritten every few seconds. `market_time` is the newest event's.
heartbeat_status = Table(
    "heartbeat_status",
    metadata,
    Column("market", Text, primary_key=True),
    Column("replica", Text, primary_key=True),
    _moment("started_at", nullable=False),
    _moment("stopped_at"),
    _moment("updated_at", nullable=False),
    _moment("last_message_at"),
    _moment("market_time"),
    Column("lag_ms", Numeric),
    Column("is_connected", Boolean, nullable=False),
    Column("symbols", Integer, nullable=False),
    Column("candles_published", BigInteger, nullable=False),
    Column("open_gaps", Integer, nullable=False),
    Column("is_coherent", Boolean, nullable=False),
)

# Every start and stop of a replica; `stopped_at` stays empty when it was killed.
heartbeat_runs = Table(
    "heartbeat_runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("market", Text, nullable=False),
    Column("replica", Text, nullable=False),
    _moment("started_at", nullable=False),
    _moment("stopped_at"),
)

# What a replica missed, [from_time, to_time) on the market's clock; shared, so found once.
heartbeat_gaps = Table(
    "heartbeat_gaps",
    metadata,
    Column("market", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("from_time", DateTime(timezone=True), primary_key=True),
    _moment("to_time", nullable=False),
    Column("found_by", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _moment("filled_at"),
    Index("ix_heartbeat_gaps_open", "market", "filled_at"),
)
