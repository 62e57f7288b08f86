"""Draws a trace as a waterfall in the terminal: one line per span, a bar where it ran.

Names, services and attributes come from outside and are printed as plain text, never as markup
or control characters. Not here: the order of the rows (`core.waterfall`) and fetching them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from aristobot.contracts.trace_names import KEY_ATTRIBUTES
from aristobot.core.waterfall import WaterfallRow

_WIDE_COLUMNS = 120
_TIME_COLUMNS = 9
_DEEPEST_INDENT = 16
_STYLES = {
    "ingress": "cyan",
    "engine": "magenta",
    "gateway": "yellow",
    "simulator": "blue",
    "api": "green",
}


def render(rows: Sequence[WaterfallRow], console: Console) -> None:
    """Print `rows` to `console`, fitted to its width.

    Attributes stand beside the bar where they fit (from 120 columns), otherwise on a line below.
    """
    if not rows:
        console.print("no spans of this trace are stored")
        return
    total_ms = max(row.offset_ms + row.duration_ms for row in rows)
    services = {row.service for row in rows}
    _print(
        console,
        Text(
            f"trace {rows[0].trace_id}  {_count(len(rows), 'span')}  "
            f"{_count(len(services), 'service')}  {_duration(total_ms)}",
            "bold",
        ),
    )
    is_wide = console.width >= _WIDE_COLUMNS
    service_columns = max(len(_printable(row.service)) for row in rows)
    service_columns = min(18, service_columns, console.width // 4)
    bar_columns = 30 if is_wide else max(10, console.width // 4)
    longest = max(len(_name(row).plain) for row in rows)
    name_columns = console.width - bar_columns - service_columns - _TIME_COLUMNS - 3
    name_columns = max(8, min(longest, name_columns))
    for row in rows:
        style = _STYLES.get(row.service.partition("-")[0], "white")
        line = _fit(_name(row), name_columns)
        line.append(" ").append_text(_fit(Text(_printable(row.service), style), service_columns))
        line.append(f" {_duration(row.duration_ms):>{_TIME_COLUMNS}} ")
        line.append(_bar(row, total_ms, bar_columns), "red" if row.status == "error" else style)
        details = _details(row)
        if is_wide and details and line.cell_len + 2 + len(details) <= console.width:
            line.append(f"  {details}", "dim")
            details = ""
        _print(console, line)
        if details:
            _print_below(console, details, indent=min(_DEEPEST_INDENT, 2 * row.depth + 2))


def _print_below(console: Console, details: str, *, indent: int) -> None:
    for line in textwrap.wrap(details, max(20, console.width - indent)):
        _print(console, Text(" " * indent + line, "dim"))


def _print(console: Console, line: Text) -> None:
    line.rstrip()
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _printable(value: object) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def _name(row: WaterfallRow) -> Text:
    text = Text("  " * row.depth)
    if row.status == "error":
        text.append("! ", "red")
    text.append(_printable(row.name), "bold" if row.depth == 0 else "")
    if row.is_orphan:
        text.append(" (parent missing)", "dim")
    return text


def _fit(text: Text, columns: int) -> Text:
    text.truncate(columns, overflow="ellipsis", pad=True)
    return text


def _duration(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.1f} ms" if milliseconds >= 0.1 else f"{milliseconds * 1000:.0f} us"


def _bar(row: WaterfallRow, total_ms: float, columns: int) -> str:
    """A bar from the span's start to its end on a scale of the whole trace; never invisible."""
    scale = columns / total_ms if total_ms > 0 else 0.0
    start = min(columns - 1, int(row.offset_ms * scale))
    end = min(columns, max(start + 1, math.ceil((row.offset_ms + row.duration_ms) * scale)))
    return " " * start + "━" * (end - start) + " " * (columns - end)


def _details(row: WaterfallRow) -> str:
    parts = [
        f"{key.rpartition('.')[2] if key != 'aristobot.webhook.id' else 'webhook'}"
        f"={_printable(row.attributes[key])}"
        for key in KEY_ATTRIBUTES
        if key in row.attributes
    ]
    parts += [f"linked to {link['trace_id']}" for link in row.links]
    if row.status == "error":
        parts.append(_printable(row.status_message or "failed"))
    return " ".join(parts)
