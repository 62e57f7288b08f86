"""Where the tests on a cluster run: on one made for them, or not at all, and either is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.guard import CONTEXTS, kubeconfig, refusal

RUN = Path(__file__).parents[1] / "cluster" / "run"


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_cluster_for_tests_is_taken(tmp_path: Path, context: str) -> None:
    file = tmp_path / "config"
    file.write_text(f"current-context: {context}\n")
    found = kubeconfig({"KUBECONFIG": str(file)})
    assert found is not None
    assert refusal(found) is None


@pytest.mark.parametrize(
    "text", ["current-context: production", "current-context: aristobot-test-2", "{}", "", "[]"]
)
def test_any_other_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    found = kubeconfig({"KUBECONFIG": str(file)})
    assert found is not None
    assert "run on the context aristobot-test or kind-aristobot-test alone" in (
        refusal(found) or ""
    )


def test_a_file_that_is_not_there_is_refused_and_no_other_is_looked_at(tmp_path: Path) -> None:
    assert refusal(kubeconfig({"KUBECONFIG": str(tmp_path / "none")}) or {}) is not None
    for nothing in ({}, {"KUBECONFIG": ""}):
        assert kubeconfig(nothing) is None


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that has nothing but the program, on a machine that has nothing but what it needs."""
    folder = tmp_path / "clone"
    (folder / "tests" / "cluster").mkdir(parents=True)
    shutil.copy(RUN, folder / "tests" / "cluster" / "run")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "realpath"):
        (programs / name).symlink_to(shutil.which(name) or name)
    return folder


def _run(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", clone / "tests" / "cluster" / "run"],
        env={"PATH": str(clone.parent / "bin")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_where_there_is_no_cluster_the_run_says_so_and_passes(clone: Path) -> None:
    done = _run(clone)
    assert "No Kubernetes to test on" in done.stdout
    assert done.returncode == 0


def test_a_cluster_that_does_not_come_up_fails_the_run(clone: Path) -> None:
    program = clone.parent / "shared" / "cluster" / "cluster"
    program.parent.mkdir(parents=True)
    program.write_text('#!/usr/bin/env bash\necho "$1"\n[[ $1 == down ]]\n')
    program.chmod(0o755)
    done = _run(clone)
    assert done.stdout.split() == ["up", "down"]
    assert done.returncode == 1
