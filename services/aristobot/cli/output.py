"""Printing rows: a table for people, one JSON array for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE_COLUMNS = 400


def print_json(rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> None:
    """Money as plain decimal text, times in ISO 8601 UTC."""
    json.dump(rows, sys.stdout, default=_plain, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Show those `columns` of `rows` that hold anything; `empty` is said when there are no rows.

    Where the terminal is too narrow for a line a row, each row is shown with a line a field, so
    that an id can always be copied whole.
    """
    # Into a pipe or a file goes what would stand on a terminal that is wide enough.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDE_COLUMNS)
    if not rows:
        console.print(empty)
        return
    columns = [column for column in columns if any(_cell(row.get(column)) for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.upper().replace("_", " "), no_wrap=True)
    for row in rows:
        # Text, not str: what users and exchanges wrote must not be read as markup.
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    if console.measure(table, options=console.options.update(width=_WIDE_COLUMNS)).maximum <= (
        console.width
    ):
        console.print(table)
        return
    for row in rows:
        print_fields({column: row.get(column) for column in columns})
        console.print()


def print_fields(row: Mapping[str, Any]) -> None:
    """Show one row, a field a line; what is empty is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in row.items():
        if value is not None and value != "":
            table.add_row(Text(name.replace("_", " "), "bold"), Text(_cell(value)))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return _plain(value) if isinstance(value, Decimal | bytes) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} can't be shown as JSON")
