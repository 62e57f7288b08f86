"""A decision to cancel a strategy's orders has neither side nor candle."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for column in ("timeframe", "candle_close", "side"):
        op.alter_column("decisions", column, nullable=True)
