"""The one SQLAlchemy metadata that every table joins, with predictable constraint names.

Names are fixed here so that a migration can drop a constraint that another machine created.
Tables themselves are in `tables.py`, `tables_market.py` and `tables_spans.py`.
"""

from __future__ import annotations

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
