"""The chart of the definitions holds exactly the files in `crds`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "aristobot-crds"
KEEP = {"helm.sh/resource-policy": "keep"}


def _rendered(**values: Any) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values=values, name="x")
    (text,) = [text for path, text in rendered.items() if path.endswith("crds.yaml")]
    return [document for document in yaml.safe_load_all(text) if document is not None]


def _files() -> list[dict[str, Any]]:
    files = sorted((ROOT / "crds").glob("*.yaml"))
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def test_it_ships_the_files_unchanged() -> None:
    assert _rendered(keep=False) == _files()


def test_an_uninstall_leaves_them_unless_told_otherwise() -> None:
    kept = _rendered()
    assert [definition["metadata"].pop("annotations") for definition in kept] == [KEEP] * 3
    assert kept == _files()


def test_a_packaged_chart_holds_them_too(tmp_path: Path) -> None:
    """A package can't hold the link to `crds`; it holds what it leads to, and no program."""
    with helm_python.Chart.load(CHART) as chart:
        archive = chart.save(tmp_path)
    with helm_python.Chart.load(archive) as packaged:
        names = {Path(file["name"]).name for file in packaged.files}
    assert {path.name for path in (ROOT / "crds").glob("*.yaml")} <= names
    assert not [name for name in names if name.endswith(".py")]


def test_a_value_that_is_not_known_is_refused() -> None:
    with pytest.raises(helm_python.HelmError):
        _rendered(kep=False)


def test_it_lints() -> None:
    report = helm_python.lint(CHART, strict=True)
    assert report["errors"] == []
