"""Runs the migrations on the connection that `platform.migrate` hands over."""

from alembic import context

# Importing the table modules is what fills the metadata.
from aristobot.platform import tables, tables_market, tables_spans  # noqa: F401
from aristobot.platform.tables_base import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
