"""Alembic's environment; `aristobot migrate` and `aristobot up` run it."""
