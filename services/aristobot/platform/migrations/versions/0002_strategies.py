"""Strategies: candles and heartbeats, decisions, positions per holder, orders that protect."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def _moment(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def _text(*names: str, nullable: bool = False) -> tuple[sa.Column[object], ...]:
    return tuple(sa.Column(name, sa.Text(), nullable=nullable) for name in names)


def _number(*names: str, nullable: bool = False) -> tuple[sa.Column[object], ...]:
    return tuple(sa.Column(name, sa.Numeric(), nullable=nullable) for name in names)


def upgrade() -> None:
    _market()
    _decisions()
    op.add_column(
        "resources",
        sa.Column(
            "uid", sa.Text(), server_default=sa.text("gen_random_uuid()::text"), nullable=False
        ),
    )
    op.add_column(
        "positions", sa.Column("holder", sa.Text(), server_default="webhook", nullable=False)
    )
    op.drop_constraint("pk_positions", "positions")
    op.create_primary_key("pk_positions", "positions", ["owner", "broker", "symbol", "holder"])
    for total in ("bought", "spent", "sold", "dust"):
        column = sa.Column(total, sa.Numeric(), server_default="0", nullable=False)
        op.add_column("positions", column)
    for fraction in _number("stop_loss_fraction", "take_profit_fraction", nullable=True):
        op.add_column("positions", fraction)
    op.execute("UPDATE positions SET bought = quantity, spent = cost")
    op.add_column(
        "orders", sa.Column("holder", sa.Text(), server_default="webhook", nullable=False)
    )
    op.add_column("orders", sa.Column("protection", postgresql.JSONB(astext_type=sa.Text())))
    op.add_column("orders", sa.Column("protects", sa.Text()))
    op.add_column("orders", sa.Column("stop_price", sa.Numeric()))
    op.add_column("orders", sa.Column("list_id", sa.Text()))
    op.create_index(
        "ix_orders_protecting",
        "orders",
        ["owner", "broker", "symbol", "holder"],
        postgresql_where=sa.text(
            "protects IS NOT NULL AND status IN ('sending', 'unknown', 'new', 'partially_filled')"
        ),
    )
    op.create_index(
        "ix_orders_holder", "orders", ["owner", "broker", "symbol", "holder", "created_at"]
    )


def _market() -> None:
    op.create_table(
        "candles",
        *_text("market", "symbol", "timeframe"),
        _moment("open_time", nullable=False),
        *_number("open", "high", "low", "close", "volume", "quote_volume"),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("is_late", sa.Boolean(), nullable=False),
        *_text("stored_by"),
        _now("stored_at"),
        sa.PrimaryKeyConstraint(
            "market", "symbol", "timeframe", "open_time", name=op.f("pk_candles")
        ),
        postgresql_partition_by="RANGE (open_time)",
    )
    op.create_table(
        "heartbeat_status",
        *_text("market", "replica"),
        _moment("started_at", nullable=False),
        _moment("stopped_at"),
        _moment("updated_at", nullable=False),
        _moment("last_message_at"),
        _moment("market_time"),
        *_number("lag_ms", nullable=True),
        sa.Column("is_connected", sa.Boolean(), nullable=False),
        sa.Column("symbols", sa.Integer(), nullable=False),
        sa.Column("candles_published", sa.BigInteger(), nullable=False),
        sa.Column("open_gaps", sa.Integer(), nullable=False),
        sa.Column("is_coherent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("market", "replica", name=op.f("pk_heartbeat_status")),
    )
    op.create_table(
        "heartbeat_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        *_text("market", "replica"),
        _moment("started_at", nullable=False),
        _moment("stopped_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heartbeat_runs")),
    )
    op.create_table(
        "heartbeat_gaps",
        *_text("market", "symbol"),
        _moment("from_time", nullable=False),
        _moment("to_time", nullable=False),
        *_text("found_by", "cause"),
        _now("found_at"),
        _moment("filled_at"),
        sa.PrimaryKeyConstraint("market", "symbol", "from_time", name=op.f("pk_heartbeat_gaps")),
    )
    op.create_index("ix_heartbeat_gaps_open", "heartbeat_gaps", ["market", "filled_at"])


def _decisions() -> None:
    op.create_table(
        "decisions",
        *_text("id", "owner", "broker", "active_strategy", "symbol", "timeframe"),
        _moment("candle_close", nullable=False),
        *_text("side"),
        *_number("quote_amount", nullable=True),
        sa.Column("stop_loss", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("take_profit", postgresql.JSONB(astext_type=sa.Text())),
        *_text("asked_by"),
        _moment("decided_at", nullable=False),
        _now("processed_at"),
        *_text("outcome"),
        *_text("code", "reason", "command_id", nullable=True),
        *_text("trace_id"),
        *_text("traceparent", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_owner_decided_at", "decisions", ["owner", "decided_at"])
    op.create_index(
        "ix_decisions_last_command",
        "decisions",
        ["owner", "broker", "processed_at"],
        postgresql_where=sa.text("command_id IS NOT NULL"),
    )
    mine = "owner = current_setting('aristobot.owner', true)"
    every = "current_setting('aristobot.owner', true) = '*'"
    op.execute("ALTER TABLE decisions ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE decisions FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY of_owner ON decisions USING ({mine} OR {every}) "
        f"WITH CHECK ({mine} OR {every})"
    )
