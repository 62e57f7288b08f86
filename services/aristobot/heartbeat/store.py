"""What the heartbeat keeps in the database: candles, its runs, its status, and gaps.

Candles and gaps are queued and written in batches, so that a slow or absent database never holds
up a signal; what is queued when the process is killed is found missing at the next start. Candles
are shared by the replicas: whoever comes first stores one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.messages import ClosedCandle
from aristobot.core.candle_builder import Missed
from aristobot.core.candles import Candle, Timeframe
from aristobot.core.errors import Retryable
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.schema import require_current_schema
from aristobot.platform.statements import Statement
from aristobot.platform.tables_market import (
    candles,
    heartbeat_gaps,
    heartbeat_runs,
    heartbeat_status,
)

logger = logging.getLogger(__name__)

_BATCH = 1000
_RETRY_SECONDS = 0.5
#: Any number: what creates a month's table takes it, so that two replicas don't at once.
_PARTITIONS_LOCK = 4_137_002
#: As well: two replicas that update the same gaps in another order would wait for each other.
_GAPS_LOCK = 4_137_003
_CANDLE_FIELDS = tuple(field.name for field in fields(Candle))

_INSERT = Statement(
    upsert(candles).on_conflict_do_nothing(),
    columns=("market", *_CANDLE_FIELDS, "is_late", "stored_by"),
)
# A gap is filled when the candles are there, whoever brought them.
_SETTLE = text(
    """
    UPDATE heartbeat_gaps AS g SET filled_at = now()
    WHERE g.market = :market AND g.filled_at IS NULL AND (
        SELECT count(*) FROM candles AS c
        WHERE c.market = g.market AND c.symbol = g.symbol AND c.timeframe = '1m'
          AND c.open_time >= g.from_time AND c.open_time < g.to_time
    ) = extract(epoch FROM g.to_time - g.from_time) / 60
    """
)


@dataclass(frozen=True, slots=True)
class Status:
    """One row of `heartbeat_status`, without its key."""

    started_at: datetime
    updated_at: datetime
    last_message_at: datetime | None
    market_time: datetime | None
    lag_ms: float | None
    is_connected: bool
    symbols: int
    candles_published: int
    open_gaps: int
    is_coherent: bool
    stopped_at: datetime | None = None


class HeartbeatStore:
    def __init__(self, database: Database, market: str, replica: str) -> None:
        self._database = database
        self._market = market
        self._replica = replica
        self._candles: deque[ClosedCandle] = deque()
        self._gaps: deque[Missed] = deque()
        self._wake = asyncio.Event()
        self._months: set[str] = set()
        self._is_away = False
        self._is_migrated = False

    @asynccontextmanager
    async def _transaction(self, *, waits_for_disk: bool = True) -> AsyncIterator[AsyncConnection]:
        """Raises `Retryable` too while there are no tables: in a cluster all start at once."""
        if not self._is_migrated:
            await require_current_schema(self._database)
            self._is_migrated = True
        async with self._database.transaction(
            EVERY_OWNER, waits_for_disk=waits_for_disk
        ) as connection:
            yield connection

    @property
    def pending(self) -> int:
        """What is not stored yet."""
        return len(self._candles) + len(self._gaps)

    @property
    def is_away(self) -> bool:
        """Whether the database did not take the last batch."""
        return self._is_away

    def put(self, candle: ClosedCandle) -> None:
        self._candles.append(candle)
        self._wake.set()

    def put_gap(self, gap: Missed) -> None:
        self._gaps.append(gap)
        self._wake.set()

    async def run(self) -> None:
        """Write what is queued, for ever; ends on cancellation."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.pending:
                try:
                    await self.flush()
                except Retryable as error:
                    if not self._is_away:
                        logger.warning("candles wait for the database", extra={"why": str(error)})
                    self._is_away = True
                    await asyncio.sleep(max(_RETRY_SECONDS, error.after_seconds))
                else:
                    self._is_away = False

    async def flush(self) -> None:
        """Write one batch. Raises `Retryable`; then it is still queued."""
        batch = [self._candles[number] for number in range(min(_BATCH, len(self._candles)))]
        gaps = [self._gaps[number] for number in range(min(_BATCH, len(self._gaps)))]
        await self._make_months(candle.open_time for candle in batch)
        # In one order everywhere: the other replica inserts the same rows at the same moment, and
        # each waits for the other's row.
        rows = sorted((self._row(candle) for candle in batch), key=_row_order)
        async with self._transaction() as connection:
            if rows:
                await _INSERT.run_many(connection, rows)
            if gaps:
                await self._insert_gaps(connection, gaps)
        for _ in batch:
            self._candles.popleft()
        for _ in gaps:
            self._gaps.popleft()

    def _row(self, candle: ClosedCandle) -> dict[str, Any]:
        row = {name: getattr(candle, name) for name in _CANDLE_FIELDS}
        return row | {
            "timeframe": candle.timeframe.value,
            "market": self._market,
            "is_late": candle.is_late,
            "stored_by": self._replica,
        }

    async def _insert_gaps(self, connection: AsyncConnection, gaps: Sequence[Missed]) -> None:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_GAPS_LOCK})"))
        rows = [
            {
                "market": self._market,
                "symbol": gap.symbol,
                "from_time": gap.from_time,
                "to_time": gap.to_time,
                "found_by": self._replica,
                "cause": gap.cause,
            }
            for gap in gaps
        ]
        await connection.execute(upsert(heartbeat_gaps).on_conflict_do_nothing(), rows)

    async def _make_months(self, moments: Iterable[datetime]) -> None:
        """A table for each month that has none yet."""
        for first in sorted({m.replace(day=1, hour=0, minute=0, second=0) for m in moments}):
            name = f"candles_{first:%Y_%m}"
            if name in self._months:
                continue
            following = (first + timedelta(days=32)).replace(day=1)
            async with self._transaction() as connection:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_PARTITIONS_LOCK})"))
                await connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF candles "
                        f"FOR VALUES FROM ('{first.isoformat()}') TO ('{following.isoformat()}')"
                    )
                )
            self._months.add(name)

    async def stored(self, symbol: str, since: datetime) -> list[Candle]:
        """All candles of a symbol that opened at or after `since`. Raises `Retryable`."""
        columns = [candles.c[name] for name in _CANDLE_FIELDS]
        query = select(*columns).where(
            candles.c.market == self._market,
            candles.c.symbol == symbol,
            candles.c.open_time >= since,
        )
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).mappings()
            return [Candle(**{**row, "timeframe": Timeframe(row["timeframe"])}) for row in rows]

    async def settle_gaps(self) -> None:
        """Mark gaps as filled whose candles are all there. Raises `Retryable`."""
        async with self._transaction() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_GAPS_LOCK})"))
            await connection.execute(_SETTLE, {"market": self._market})

    async def start_run(self, at: datetime) -> int:
        """Record a start; returns its id. Raises `Retryable`."""
        row = {"market": self._market, "replica": self._replica, "started_at": at}
        async with self._transaction() as connection:
            query = insert(heartbeat_runs).values(**row).returning(heartbeat_runs.c.id)
            return int((await connection.execute(query)).scalar_one())

    async def end_run(self, run: int, at: datetime) -> None:
        """Record the stop of a run, and that the replica is stopped. Raises `Retryable`."""
        mine = (heartbeat_status.c.market == self._market) & (
            heartbeat_status.c.replica == self._replica
        )
        async with self._transaction() as connection:
            await connection.execute(
                update(heartbeat_runs).where(heartbeat_runs.c.id == run).values(stopped_at=at)
            )
            await connection.execute(
                update(heartbeat_status).where(mine).values(stopped_at=at, is_connected=False)
            )

    async def write_status(self, status: Status) -> None:
        """Replace the replica's row. Raises `Retryable`."""
        row = {field.name: getattr(status, field.name) for field in fields(Status)}
        statement = upsert(heartbeat_status).values(
            market=self._market, replica=self._replica, **row
        )
        async with self._transaction(waits_for_disk=False) as connection:
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["market", "replica"], set_=row)
            )


def _row_order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["symbol"], row["timeframe"], row["open_time"]
