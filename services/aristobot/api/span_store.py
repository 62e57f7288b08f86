"""The span table's queries: insert what OTLP delivered, look traces up, delete by age.

Exporters re-send a batch whose answer they missed, so inserting is idempotent. Spans are worth
less than orders: their transactions don't wait for the disk. Not here: OTLP (`otlp.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, column, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB, insert

from aristobot.core.errors import Retryable
from aristobot.platform.db import EVERY_OWNER, Database
from aristobot.platform.tables_spans import spans

_logger = logging.getLogger(__name__)

_DELETE_ROWS = 2_000
_DELETE_PAUSE_SECONDS = 0.05
_RETENTION_INTERVAL_SECONDS = 600.0
_COLUMNS = [column for column in spans.c if column.name != "received_at"]
# All rows as one JSON parameter: a fifth of the CPU that a parameter per column and row takes.
_records = (
    func.jsonb_to_recordset(bindparam("rows", type_=JSONB))
    .table_valued(*(column(each.name, each.type) for each in _COLUMNS))
    .render_derived(with_types=True)
)
_INSERT = (
    insert(spans)
    .from_select([each.name for each in _COLUMNS], select(_records))
    .on_conflict_do_nothing()
)


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One root span, as a list of traces shows it."""

    trace_id: str
    name: str
    service: str
    status: str
    start_ns: int
    end_ns: int


class SpanStore:
    """Every method raises `Retryable` when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store spans (columns of the table); those that are there stay as they are."""
        if not rows:
            return
        async with self._database.transaction(EVERY_OWNER, waits_for_disk=False) as connection:
            await connection.execute(_INSERT, {"rows": list(rows)})

    async def get(self, trace_id: str) -> list[dict[str, Any]]:
        """All spans of one trace by start; empty when there is none."""
        query = select(*_COLUMNS).where(spans.c.trace_id == trace_id).order_by(spans.c.start_ns)
        async with self._database.transaction(EVERY_OWNER) as connection:
            return [_to_dict(row) for row in await connection.execute(query)]

    async def recent(self, limit: int = 50) -> list[TraceSummary]:
        """The latest root spans, newest first."""
        query = (
            select(*_summary_columns())
            .where(spans.c.parent_span_id.is_(None))
            .order_by(spans.c.start_ns.desc())
            .limit(limit)
        )
        return await self._summaries(query)

    async def find(
        self, attribute: str, value: str | int | float | bool, *, limit: int = 50
    ) -> list[TraceSummary]:
        """The latest spans whose `attribute` is exactly `value`, one per trace, newest first.

        Scans by start: rows of webhooks and orders hold their trace id, so this is for people.
        """
        newest = (
            select(spans.c.trace_id, func.max(spans.c.start_ns).label("start_ns"))
            .where(spans.c.attributes.contains({attribute: value}))
            .group_by(spans.c.trace_id)
            .order_by(func.max(spans.c.start_ns).desc())
            .limit(limit)
            .subquery()
        )
        query = (
            select(*_summary_columns())
            .where(
                tuple_(spans.c.trace_id, spans.c.start_ns).in_(
                    select(newest.c.trace_id, newest.c.start_ns)
                ),
                spans.c.attributes.contains({attribute: value}),
            )
            .order_by(spans.c.start_ns.desc())
            .limit(limit)
        )
        return await self._summaries(query)

    async def delete_older_than(self, days: float, *, now: datetime | None = None) -> int:
        """Delete spans that began more than `days` ago, in small batches; return how many."""
        cutoff = (now or datetime.now(UTC)) - timedelta(days=days)
        oldest = (
            select(spans.c.trace_id, spans.c.span_id)
            .where(spans.c.start_ns < int(cutoff.timestamp() * 1e9))
            .order_by(spans.c.start_ns)
            .limit(_DELETE_ROWS)
        )
        statement = delete(spans).where(tuple_(spans.c.trace_id, spans.c.span_id).in_(oldest))
        total = 0
        while True:
            async with self._database.transaction(EVERY_OWNER, waits_for_disk=False) as connection:
                deleted = (await connection.execute(statement)).rowcount
            total += deleted
            if deleted < _DELETE_ROWS:
                return total
            await asyncio.sleep(_DELETE_PAUSE_SECONDS)

    async def keep_for(self, days: float) -> None:
        """Delete old spans every ten minutes until cancelled. Run it as an owned task."""
        while True:
            try:
                deleted = await self.delete_older_than(days)
            except Retryable as error:
                _logger.warning("old spans not deleted", extra={"reason": str(error)})
            else:
                if deleted:
                    _logger.info("old spans deleted", extra={"spans": deleted})
            await asyncio.sleep(_RETENTION_INTERVAL_SECONDS)

    async def _summaries(self, query: Any) -> list[TraceSummary]:
        async with self._database.transaction(EVERY_OWNER) as connection:
            return [TraceSummary(*row) for row in await connection.execute(query)]


def _summary_columns() -> list[Any]:
    c = spans.c
    return [c.trace_id, c.name, c.service, c.status, c.start_ns, c.end_ns]


def _to_dict(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)
