"""One release on a test cluster for all tests of this folder, and nothing left of it afterwards.

Only the cluster that KUBECONFIG names is used, and only when it was made for tests (`guard`).
Without KUBECONFIG the tests are skipped; `make test-cluster` brings a cluster up for them. When one
fails, what the namespaces hold and what the pods said is in the report.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import remains
from tests.cluster.guard import VARIABLE, kubeconfig, refusal
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import (
    CHARTS,
    NAMESPACE,
    OTHER_OWNER,
    Release,
    namespace_document,
    values,
)
from tests.cluster.report import describe

_HERE = Path(__file__).parent
#: While a test is being written: the release of the run before is used, and stays.
_KEEP_VARIABLE = "ARISTOBOT_TEST_KEEP"
#: Whatever a test does; what its fixtures do has limits of its own.
_SECONDS = 600
#: These end the release, so they come last.
_LAST = ("test_upgrade.py", "test_uninstall.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests before `-m` is looked at; those that end the release come last."""
    ours = [item for item in items if item.path.is_relative_to(_HERE)]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(_SECONDS, func_only=True))
    items.sort(key=lambda item: _LAST.index(item.path.name) + 1 if item.path.name in _LAST else 0)


@pytest.fixture(scope="session")
def cluster() -> dict[str, Any]:
    """The kubeconfig of a cluster that may be touched; nothing in this folder runs without it."""
    found = kubeconfig(os.environ)
    if found is None:
        pytest.skip(f"{VARIABLE} names no cluster: `make test-cluster` brings one up")
    if why := refusal(found):
        pytest.exit(why, returncode=2)
    return found


@pytest.fixture(scope="session", autouse=True)
def _guarded(cluster: dict[str, Any]) -> None:
    """Also for tests that ask for nothing."""


@pytest.fixture(scope="session")
def kubectl(cluster: dict[str, Any]) -> Kubectl:
    for tool in ("kubectl", "helm"):
        assert shutil.which(tool), f"{tool} has to be on the PATH"
    return Kubectl(cluster["current-context"], NAMESPACE)


@pytest.fixture(scope="session")
def before(kubectl: Kubectl) -> remains.Objects:
    """What the cluster holds, besides namespaces, before anything is installed."""
    _clear(kubectl)
    return remains.cluster_wide(kubectl)


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl, before: remains.Objects) -> Iterator[None]:
    """Ours, by their chart; they stay where they were before, or another release uses them now."""
    kubectl.apply(namespace_document(NAMESPACE))
    Release(kubectl).install_definitions()
    yield
    _clear(kubectl)
    operators = "app.kubernetes.io/component=operator"
    is_used = kubectl.list("deployments", "--all-namespaces", "-l", operators)
    if not (before & remains.DEFINITIONS or is_used or os.environ.get(_KEEP_VARIABLE)):
        names = (each.partition("/")[2] for each in remains.DEFINITIONS)
        kubectl.run("delete", "crd", "--ignore-not-found", *names)


@pytest.fixture(scope="session")
def installed(kubectl: Kubectl, definitions: None) -> Release:
    """Installed and ready, with two owners."""
    kubectl.apply(namespace_document(OTHER_OWNER))
    release = Release(kubectl)
    release.install(CHARTS / "aristobot", values())
    return release


@pytest.fixture(scope="module")
def release(installed: Release) -> Iterator[Release]:
    """The same for one module, which leaves no resource and no pod of one to the next."""
    yield installed
    for owner in (NAMESPACE, OTHER_OWNER):
        installed.clear(owner)


def _clear(kubectl: Kubectl) -> None:
    """Take away what a run leaves, also one that was killed."""
    if os.environ.get(_KEEP_VARIABLE):
        return
    if kubectl.get("namespace", NAMESPACE) is not None:
        Release(kubectl).uninstall()
    kubectl.run(
        *("delete", "namespace", "--ignore-not-found", "--timeout=180s", NAMESPACE, OTHER_OWNER),
        seconds=200,
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    found = kubeconfig(os.environ) if item.path.is_relative_to(_HERE) else None
    if report.failed and found is not None and refusal(found) is None:
        kubectl = Kubectl(found["current-context"], NAMESPACE)
        for namespace in (NAMESPACE, OTHER_OWNER):
            report.sections.append(
                (namespace, describe(kubectl.within(namespace), f"{item.name} {report.when}"))
            )
