"""Strategies that run: memory and processor time of each, and how many the node can take.

Half of them decide on every candle of a minute, of a market that is 20 times as fast as ours; the
others have candles of four hours, so they rest. How many fit is computed from what was measured and
from what the pods request, and the row says so; nothing is filled up.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence

from tests.cluster.kubectl import Kubectl
from tests.support.kube_api.bare import ApiClient

from aristobot.contracts.kubernetes import ACTIVE_STRATEGY_LABEL
from benchmarks.cluster import documents, pods
from benchmarks.cluster.crowd import Progress, apply, condition, in_parallel
from benchmarks.cluster.documents import ACTIVE_STRATEGIES
from benchmarks.cluster.following import following
from benchmarks.cluster.pods import Usage
from benchmarks.cluster.release import SPEED
from benchmarks.report import Section

_READY_SECONDS = 600.0
_MEBIBYTE = 2**20
_PROCESSES = ("the runner", "the process it forks from", "the sealed strategy")
#: A pod takes a moment to come to rest after it has started.
_CALM_SECONDS = 20


async def measure(
    client: ApiClient,
    kubectl: Kubectl,
    section: Section,
    progress: Progress,
    *,
    count: int,
    seconds: float,
) -> None:
    """Run `count` strategies, and measure them over so many seconds."""
    resting = [f"rests-{number}" for number in range(count // 2)]
    deciding = [f"decides-{number}" for number in range(count - count // 2)]
    node = pods.node_name(kubectl)
    before = pods.node_of(kubectl, node)
    await _start(client, resting, deciding, progress)
    await asyncio.sleep(_CALM_SECONDS)
    by_name = _pods_of(kubectl)
    first = pods.fresh_usages(kubectl, node, set(by_name.values()))
    await asyncio.sleep(seconds)
    second = pods.fresh_usages(kubectl, node, set(by_name.values()))
    memory = [second[by_name[name]].memory for name in (*resting, *deciding)]
    each = statistics.median(memory)
    section.add(
        f"memory of each of {count} (the pod's working set)",
        each / _MEBIBYTE,
        "MB",
        note=f"{min(memory) / _MEBIBYTE:.0f} to {max(memory) / _MEBIBYTE:.0f}",
    )
    _add_processes(kubectl, section, by_name[deciding[0]])
    rest = _millicores(resting, by_name, first, second)
    busy = _millicores(deciding, by_name, first, second)
    per_second = SPEED / 60
    section.add("processor of each at rest", rest, "mcore")
    section.add(
        "processor time of each for a candle",
        (busy - rest) / per_second,
        "ms",
        note=f"at one candle in {1 / per_second:.0f} s, {busy:.1f} mcore",
    )
    _add_fit(section, before, pods.node_of(kubectl, node), kubectl, by_name, each)
    section.raw["live"] = {"memory_bytes": memory, "rest_mcore": rest, "busy_mcore": busy}
    await _delete(client, (*resting, *deciding))


async def _start(
    client: ApiClient, resting: Sequence[str], deciding: Sequence[str], progress: Progress
) -> None:
    wanted = [
        *(documents.active_strategy(name, timeframe="4h") for name in resting),
        *(documents.active_strategy(name, timeframe="1m") for name in deciding),
    ]
    async with following(client, (ACTIVE_STRATEGIES, "", str)) as seen:
        await in_parallel(apply(client, ACTIVE_STRATEGIES, each) for each in wanted)
        await seen.until(
            {*resting, *deciding},
            lambda name: (
                condition(seen.get(ACTIVE_STRATEGIES, name), "Ready").get("status") == "True"
            ),
            seconds=_READY_SECONDS,
            progress=lambda done: progress("strategies live", done, len(wanted)),
        )


async def _delete(client: ApiClient, names: Sequence[str]) -> None:
    await in_parallel(_delete_one(client, name) for name in names)


async def _delete_one(client: ApiClient, name: str) -> None:
    await client.did("DELETE", client.path(ACTIVE_STRATEGIES, name))


def _pods_of(kubectl: Kubectl) -> dict[str, str]:
    """The pod of each active strategy."""
    return {
        pod["metadata"]["labels"][ACTIVE_STRATEGY_LABEL]: pod["metadata"]["name"]
        for pod in kubectl.pods(ACTIVE_STRATEGY_LABEL)
    }


def _millicores(
    names: Sequence[str],
    by_name: Mapping[str, str],
    first: Mapping[str, Usage],
    second: Mapping[str, Usage],
) -> float:
    return statistics.mean(pods.rate(first[by_name[name]], second[by_name[name]]) for name in names)


def _add_processes(kubectl: Kubectl, section: Section, pod: str) -> None:
    """The three of a runner's pod, in the order in which they begin."""
    for name, sizes in zip(_PROCESSES, pods.processes(kubectl, pod), strict=True):
        section.add(
            f"of it {name} (PSS)",
            sizes["Pss"] / 1024,
            "MB",
            note=f"RSS {sizes['Rss'] / 1024:.0f}, its own {sizes['Private_Dirty'] / 1024:.0f}",
        )


def _add_fit(
    section: Section,
    before: pods.Node,
    now: pods.Node,
    kubectl: Kubectl,
    by_name: Mapping[str, str],
    each: float,
) -> None:
    """By what is requested, and by what is used, on the node as it is: others' pods count."""
    (pod,) = (each for each in kubectl.list("pods", "-l", ACTIVE_STRATEGY_LABEL)[:1])
    requests = pod["spec"]["containers"][0]["resources"].get("requests", {})
    memory = pods.quantity(requests.get("memory", "0"))
    processor = 1000 * pods.quantity(requests.get("cpu", "0"))
    limits = {"pods": float(before.pods - before.running)}
    if memory:
        limits["requested memory"] = (before.memory - before.requested_memory) / memory
    if processor:
        limits["requested processor"] = (before.processor - before.requested_processor) / processor
    lowest = min(limits, key=lambda name: limits[name])
    others = ", ".join(f"{name} {int(value)}" for name, value in limits.items())
    section.add(
        "live strategies that fit by requests (computed)",
        int(limits[lowest]),
        "",
        note=f"first to run out: {lowest}; {others}; beside {before.running} other pods",
    )
    section.add(
        "live strategies that fit by memory used (computed)",
        len(by_name) + int(now.available / each),
        "",
        note=f"{now.available / _MEBIBYTE:,.0f} MB were free with {len(by_name)} live",
    )
