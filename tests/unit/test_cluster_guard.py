"""The tests on a cluster refuse every cluster that was not made for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.guard import CONTEXTS, kubeconfig, refusal


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
