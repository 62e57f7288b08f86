"""The tables, as SQLAlchemy Core. Migrations in `platform/migrations` create exactly these.

Money is NUMERIC without a scale (exchanges have up to 18 decimals), times are timestamptz in UTC.
Every row of a user carries `owner`; row-level security (see the migration) keeps owners apart
beneath the application. Not here: queries, which live with the service that owns the table.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from aristobot.core.orders import OrderStatus, is_final
from aristobot.platform.tables_base import metadata


def _moment(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


users = Table(
    "users",
    metadata,
    Column("owner", Text, primary_key=True),
    _now("created_at"),
)

# The desired state (embedded adapter of the ResourceStore) and, beside it, the observed one.
resources = Table(
    "resources",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    # Tells a resource from a later one of the same name.
    Column("uid", Text, nullable=False, server_default=text("gen_random_uuid()::text")),
    Column("spec", JSONB, nullable=False),
    Column("generation", BigInteger, nullable=False, server_default="1"),
    Column("status", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _now("created_at"),
    _now("updated_at"),
    ForeignKeyConstraint(["owner"], ["users.owner"], ondelete="CASCADE"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("ciphertext", LargeBinary, nullable=False),
    _now("updated_at"),
    ForeignKeyConstraint(["owner"], ["users.owner"], ondelete="CASCADE"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("stream_sequence", BigInteger, nullable=False),
    Column("delivery_key", Text, nullable=False),
    Column("signal_key", Text),
    _moment("received_at", nullable=False),
    _now("processed_at"),
    Column("source", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("action", Text),
    Column("symbol", Text),
    Column("interval", Text),
    _moment("bar_time"),
    Column("indicator", Text),
    Column("percent", Numeric),
    Column("price", Numeric),
    Column("stop_loss_price", Numeric),
    Column("take_profit_price", Numeric),
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("command_id", Text),
    Column("trace_id", Text, nullable=False),
    Column("traceparent", Text),
    Index("ix_webhooks_owner_received_at", "owner", "received_at"),
    Index(
        "ix_webhooks_last_command",
        "owner",
        "broker",
        "stream_sequence",
        postgresql_where=text("command_id IS NOT NULL"),
    ),
)

# One row per signal that has acted; its primary key is what makes "once per bar" hold.
signals = Table(
    "signals",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("signal_key", Text, primary_key=True),
    Column("webhook_id", Text, nullable=False),
    _now("created_at"),
)

positions = Table(
    "positions",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("broker", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    # `contracts.messages.WEBHOOK_HOLDER`, or an active strategy's.
    Column("holder", Text, primary_key=True, server_default="webhook"),
    Column("state", Text, nullable=False),
    Column("quantity", Numeric, nullable=False, server_default="0"),
    Column("cost", Numeric, nullable=False, server_default="0"),
    # What quantity and cost are made of: totals since the position was flat (`core.positions`).
    Column("bought", Numeric, nullable=False, server_default="0"),
    Column("spent", Numeric, nullable=False, server_default="0"),
    Column("sold", Numeric, nullable=False, server_default="0"),
    Column("dust", Numeric, nullable=False, server_default="0"),
    # The fraction of the entry's price, where the level was given as one.
    Column("stop_loss_price", Numeric),
    Column("stop_loss_fraction", Numeric),
    Column("take_profit_price", Numeric),
    Column("take_profit_fraction", Numeric),
    Column("last_command_id", Text),
    _now("updated_at"),
)

# How much of each order is already in its position, so that an event applied twice adds nothing.
position_orders = Table(
    "position_orders",
    metadata,
    Column("command_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("executed_quantity", Numeric, nullable=False),
    Column("executed_quote", Numeric, nullable=False),
    Column("base_fee", Numeric, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("producer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
    _now("created_at"),
    Index("ix_outbox_producer_id", "producer", "id"),
)

gateway_leases = Table(
    "gateway_leases",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("broker", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    _now("taken_at"),
)

#: An order isn't over. The partial indexes say it in these words, and serve only a query that does
#: so too.
_IS_OPEN = "status IN ({})".format(", ".join(f"'{s}'" for s in OrderStatus if not is_final(s)))
ORDER_IS_OPEN = text(f"orders.{_IS_OPEN}")

# The intent row: written before anything is sent. `sent_timestamp_ms` is the timestamp the
# request is signed with (exchange clock); the exchange refuses it once its window has passed.
orders = Table(
    "orders",
    metadata,
    Column("command_id", Text, primary_key=True),
    Column("client_order_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("quantity", Numeric),
    Column("quote_quantity", Numeric),
    Column("price", Numeric),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("exchange_order_id", Text),
    Column("executed_quantity", Numeric, nullable=False, server_default="0"),
    Column("executed_quote", Numeric, nullable=False, server_default="0"),
    Column("asked_by", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("sent_timestamp_ms", BigInteger, nullable=False),
    _moment("caused_at", nullable=False),
    _moment("valid_until"),
    _now("created_at"),
    _now("updated_at"),
    _moment("accepted_at"),
    Column("trace_id", Text, nullable=False),
    Column("traceparent", Text),
    Column("holder", Text, nullable=False, server_default="webhook"),
    # What the order is to leave behind (`messages.Protection`); of an entry or an exit.
    Column("protection", JSONB),
    # Of an order that protects: the command whose execution it protects, the price that triggers
    # it, and what binds a stop and its target at the exchange.
    Column("protects", Text),
    Column("stop_price", Numeric),
    Column("list_id", Text),
    UniqueConstraint("owner", "broker", "client_order_id"),
    Index(
        "ix_orders_protecting",
        "owner",
        "broker",
        "symbol",
        "holder",
        postgresql_where=text(f"protects IS NOT NULL AND {_IS_OPEN}"),
    ),
    # What a holder's orders come to.
    Index("ix_orders_holder", "owner", "broker", "symbol", "holder", "created_at"),
    Index("ix_orders_owner_created_at", "owner", "created_at"),
    Index(
        "ix_orders_unsettled",
        "owner",
        "broker",
        postgresql_where=text(_IS_OPEN),
    ),
)

fills = Table(
    "fills",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("broker", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("client_order_id", Text, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("fee", Numeric, nullable=False),
    Column("fee_asset", Text),
    Column("is_maker", Boolean),
    _moment("at", nullable=False),
    Index("ix_fills_client_order_id", "owner", "broker", "client_order_id"),
)

# Append-only: the migration adds a trigger that refuses UPDATE and DELETE.
journal = Table(
    "journal",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("command_id", Text),
    Column("purpose", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("params", JSONB, nullable=False),
    _moment("sent_at", nullable=False),
    Column("duration_ms", Numeric, nullable=False),
    Column("status", Integer),
    Column("answer", Text),
    Column("failure", Text),
    Column("trace_id", Text),
    Column("traceparent", Text),
    Index("ix_journal_command_id", "command_id"),
    Index("ix_journal_owner_sent_at", "owner", "sent_at"),
)

# Every decision of a strategy (or of a person for it), whatever came of it. One to cancel the
# orders has neither side nor candle.
decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("broker", Text, nullable=False),
    Column("active_strategy", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text),
    _moment("candle_close"),
    Column("side", Text),
    Column("quote_amount", Numeric),
    Column("stop_loss", JSONB),
    Column("take_profit", JSONB),
    Column("asked_by", Text, nullable=False),
    _moment("decided_at", nullable=False),
    _now("processed_at"),
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("command_id", Text),
    Column("trace_id", Text, nullable=False),
    Column("traceparent", Text),
    Index("ix_decisions_owner_decided_at", "owner", "decided_at"),
    Index(
        "ix_decisions_last_command",
        "owner",
        "broker",
        "processed_at",
        postgresql_where=text("command_id IS NOT NULL"),
    ),
)

#: Tables whose rows belong to an owner; the migration puts row-level security on each.
OWNED_TABLES = (
    users,
    resources,
    secrets,
    webhooks,
    signals,
    positions,
    position_orders,
    outbox,
    gateway_leases,
    orders,
    fills,
    journal,
    decisions,
)
