"""Catches what a strategy prints: the first lines are kept, the rest is counted.

Deliberately bounded, because a strategy may print without end. The lines go to the host with the
next answer.
"""

from __future__ import annotations

import io

_MOST_LINES = 50
_LONGEST_LINE = 500


class UserOutput(io.TextIOBase):
    """Stands for `sys.stdout` and `sys.stderr` in a sealed process."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open = ""
        self._left_out = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, rest = text.split("\n")
        for part in whole:
            self._keep(self._open + part)
            self._open = ""
        self._open = (self._open + rest)[: _LONGEST_LINE + 1]
        return len(text)

    def _keep(self, line: str) -> None:
        line = line.encode("utf-8", "replace").decode()
        if len(self._lines) < _MOST_LINES:
            self._lines.append(
                line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + " (cut)"
            )
        else:
            self._left_out += 1

    def take(self) -> list[str]:
        """What was printed since the last call."""
        if self._open:
            self._keep(self._open)
        lines = self._lines
        if self._left_out:
            lines.append(f"({self._left_out} more lines were printed and left out)")
        self._lines, self._open, self._left_out = [], "", 0
        return lines
