"""Writes the files of this folder from the models (`make crds`)."""

from __future__ import annotations

from pathlib import Path

from aristobot.contracts.crds.definitions import KINDS, file_name, file_text

if __name__ == "__main__":
    for kind in KINDS:
        target = Path(__file__).with_name(file_name(kind))
        target.write_text(file_text(kind), encoding="utf-8")
        print(target.name)
