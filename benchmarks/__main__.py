"""`python -m benchmarks`: runs the sections, prints the table, writes the JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import candles, decisions, ingress, latency, memory, report, start, strategies
from benchmarks.cluster import on_double

_SECTIONS: dict[str, Callable[..., report.Section]] = {
    "ingress": ingress.run,
    "latency": latency.run,
    "decisions": decisions.run,
    "start": start.run,
    "memory": memory.run,
    "strategies": strategies.run,
    "candles": candles.run,
    "operator": on_double.run,
}


def main() -> None:
    """Run what was asked for; ends with 1 only when a section could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=_SECTIONS, action="append", help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, rougher numbers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    arguments = parser.parse_args()
    before = report.machine()
    sections = []
    for name in arguments.only or _SECTIONS:
        sys.stderr.write(f"measuring {name} ...\n")
        with tempfile.TemporaryDirectory(prefix=f"aristobot-bench-{name}-") as folder:
            # PostgreSQL gives up root and must be able to walk to its data.
            Path(folder).chmod(0o755)
            sections.append(_SECTIONS[name](Path(folder), quick=arguments.quick))
    sys.stdout.write(report.render(sections) + "\n\n")
    sys.stdout.write(f"measured on {_line(before)}; afterwards {_line(report.machine())}\n")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report.as_json(sections, before), indent=1))


def _line(machine: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


if __name__ == "__main__":
    main()
