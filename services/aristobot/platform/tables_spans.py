"""The span store's table: one row per finished span, as OTLP delivered it.

Filled and read by `api.span_store` only. Spans carry no owner column: they are the platform's
own journal, and row-level security does not apply. Times are nanoseconds since the epoch, as in
OTLP, because a timestamptz would cut them to microseconds.
"""

from __future__ import annotations

from sqlalchemy import CHAR, BigInteger, Column, DateTime, Index, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from aristobot.platform.tables_base import metadata

spans = Table(
    "spans",
    metadata,
    Column("trace_id", CHAR(32), primary_key=True),
    Column("span_id", CHAR(16), primary_key=True),
    Column("parent_span_id", CHAR(16)),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_message", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("events", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("links", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_spans_start_ns", "start_ns"),
)
