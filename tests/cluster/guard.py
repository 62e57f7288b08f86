"""Which cluster the tests of this folder may touch: one that was made for tests, and no other.

They delete pods, namespaces and definitions, so the context's name decides, and only the file that
KUBECONFIG names is looked at: kubectl's own default is where people keep their clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

VARIABLE = "KUBECONFIG"
#: What `../shared/cluster/cluster up` and `kind create cluster --name aristobot-test` make.
CONTEXTS = ("aristobot-test", "kind-aristobot-test")


def kubeconfig(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What KUBECONFIG names; None when it names nothing, and {} for what is no kubeconfig."""
    path = environment.get(VARIABLE)
    if not path:
        return None
    file = Path(path)
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def refusal(config: Mapping[str, Any]) -> str | None:
    """Why the tests must not run on the cluster of this kubeconfig, or None when they may."""
    context = config.get("current-context")
    if context in CONTEXTS:
        return None
    known = " or ".join(CONTEXTS)
    return (
        f"{VARIABLE} is at the context {context!r}. The tests in tests/cluster delete pods and "
        f"namespaces, so they run on the context {known} alone; `make test-cluster` makes one."
    )
