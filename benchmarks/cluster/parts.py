"""What the release's own pods use at each stage: what requests and limits in the chart follow."""

from __future__ import annotations

from tests.cluster.kubectl import Kubectl

from benchmarks.cluster import pods
from benchmarks.cluster.pods import Usage
from benchmarks.report import Section

_MEBIBYTE = 2**20


class Watched:
    """Looks when it is told to; `section` says what it saw, and the processor in between."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._looks: list[tuple[str, dict[str, list[tuple[str, Usage]]]]] = []

    def look(self, stage: str) -> None:
        parts = pods.by_component(self._kubectl)
        used = pods.usages(self._kubectl, pods.node_name(self._kubectl))
        self._looks.append(
            (
                stage,
                {
                    part: [(name, used[name]) for name in names if name in used]
                    for part, names in parts.items()
                    if part != "runner"
                },
            )
        )

    def section(self) -> Section:
        section = Section("Memory of each part (working set of the largest pod)")
        for part in sorted({part for _, seen in self._looks for part in seen}):
            stages = []
            largest = 0
            for stage, seen in self._looks:
                sizes = [usage.memory for _, usage in seen.get(part, ())]
                if sizes:
                    largest = max(largest, *sizes)
                    stages.append(f"{stage} {max(sizes) / _MEBIBYTE:.0f}")
            section.add(part, largest / _MEBIBYTE, "MB", note=", ".join(stages))
        for (before, first), (after, second) in zip(self._looks, self._looks[1:], strict=False):
            rates = []
            for part in sorted(first.keys() & second.keys()):
                known = dict(first[part])
                moved = [
                    pods.rate(known[name], usage)
                    for name, usage in second[part]
                    if name in known and usage.at > known[name].at
                ]
                if moved:
                    rates.append(f"{part} {max(moved):.0f}")
            section.notes.append(f"millicores, {before} to {after}: {', '.join(rates)}")
        return section
