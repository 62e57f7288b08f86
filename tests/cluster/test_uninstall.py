"""Uninstalled, nothing is left but what docs/kubernetes.md says stays."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from tests.cluster import documents, remains
from tests.cluster.release import NAMESPACE, OTHER_OWNER, Release
from tests.cluster.waiting import eventually

DOCS = Path(__file__).parents[2] / "docs" / "kubernetes.md"
_KINDS = "activestrategies,brokers,strategies"


def test_only_what_the_docs_say_stays(release: Release, before: remains.Objects) -> None:
    owner = release.owner(OTHER_OWNER)
    owner.apply(
        documents.broker("left", "strategy")
        + documents.strategy("left-eager", "return False")
        + documents.active("left-btc", "left-eager", "left", "closePositions")
    )
    release.ready("activestrategy", "left-btc", OTHER_OWNER)
    for kind in ("activestrategies", "brokers", "strategies"):
        release.kubectl.run("delete", kind, "--all", "--timeout=120s", seconds=130)
        if kind == "activestrategies":
            others = [a["metadata"]["name"] for a in owner.list(kind)]
            others.remove("left-btc")
            if others:
                owner.run("delete", kind, *others, "--timeout=120s", seconds=130)
    assert owner.get("activestrategy", "left-btc") is not None

    release.uninstall()
    # Of what was forgotten the finalizers were taken off, so it goes without an operator.
    for kind, name in (("activestrategy", "left-btc"), ("broker", "left")):
        found = owner.get(kind, name)
        assert found is not None
        assert "finalizers" not in found["metadata"], found["metadata"]
    owner.run("delete", _KINDS, "--all", "--timeout=30s")

    stays = _documented(release.fullname)
    for namespace in (NAMESPACE, OTHER_OWNER):

        def unexpected(namespace: str = namespace) -> list[str]:
            found = remains.in_namespace(release.owner(namespace))
            return sorted(each for each in found if not any(p.fullmatch(each) for p in stays))

        # Pods have their grace period, and what belongs to a resource goes after it.
        with contextlib.suppress(AssertionError):
            eventually(lambda: not unexpected(), seconds=90)
        assert unexpected() == []
    there = remains.in_namespace(release.kubectl)
    for pattern in stays:
        if "PersistentVolumeClaim" in pattern.pattern:
            assert any(pattern.fullmatch(each) for each in there), pattern.pattern
    assert sorted(remains.cluster_wide(release.kubectl) - before - remains.STAYS) == []


def _documented(fullname: str) -> list[re.Pattern[str]]:
    """The rows of the page's table, as patterns of `Kind/name`."""
    table = DOCS.read_text(encoding="utf-8").partition("What stays, on purpose")[2]
    assert "`data-aristobot-{nats,postgres,simulator}-0`" in table
    for said in (
        "`aristobot-nats-*` and `aristobot-postgres`",
        "`webhook`",
        "`aristobot-operator`",
    ):
        assert said in table
    return [
        *(
            re.compile(f"PersistentVolumeClaim/data-{fullname}-{part}-0")
            for part in ("nats", "postgres", "simulator")
        ),
        re.compile(f"Secret/{fullname}-nats-.*"),
        re.compile(f"Secret/{fullname}-postgres"),
        re.compile("Secret/webhook"),
        re.compile(f"Lease/{fullname}-operator"),
        # Helm's record of the definitions' chart, which is still installed.
        re.compile(r"Secret/sh\.helm\.release\.v1\.aristobot-crds\.v\d+"),
    ]
