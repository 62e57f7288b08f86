"""What a section hands back, and how it is printed: one table of rows with what was wanted."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `wanted`: the issue's aim in words, empty when there is none."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    is_met: bool | None = None
    note: str = ""


@dataclass(slots=True)
class Section:
    """One benchmark's rows, what it did in words, and the raw numbers behind the rows."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        note: str = "",
    ) -> None:
        """Add a row; the limits are aims, and missing one only shows."""
        wanted, is_met = "", None
        if at_most is not None:
            wanted, is_met = f"< {at_most:g}", value < at_most
        elif at_least is not None:
            wanted, is_met = f">= {at_least:g}", value >= at_least
        self.rows.append(Row(name, value, unit, wanted, is_met, note))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of the values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def spread_percent(values: Sequence[float]) -> float:
    """How noisy repeated measurements were: (largest - smallest) / median, in percent."""
    return 100 * (max(values) - min(values)) / statistics.median(values)


def machine() -> dict[str, Any]:
    """What the numbers were measured on; the load tells how busy others kept it."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def render(sections: Sequence[Section]) -> str:
    """The sections as text for a terminal."""
    lines: list[str] = []
    for section in sections:
        lines += ["", section.title, "-" * len(section.title)]
        width = max((len(row.name) for row in section.rows), default=0)
        for row in section.rows:
            verdict = "" if row.is_met is None else ("ok" if row.is_met else "MISSED")
            wanted = f"wanted {row.wanted}" if row.wanted else ""
            text = f"{row.name:<{width}}  {_number(row.value):>9} {row.unit:<6} "
            text += f"{wanted:<16} {verdict:<7} {row.note}"
            lines.append(text.rstrip())
        lines += [f"  {note}" for note in section.notes]
    return "\n".join(lines)


def as_json(sections: Sequence[Section], before: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine_before": before,
        "machine_after": machine(),
        "sections": [asdict(section) for section in sections],
    }


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"
