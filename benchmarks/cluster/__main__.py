"""`python -m benchmarks.cluster`, or `make bench-cluster`: the operator on a real cluster.

Uses the cluster that KUBECONFIG names, if it was made for tests, and an image that it has already;
installs a release of its own and removes it in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests.cluster.guard import VARIABLE, kubeconfig, refusal
from tests.cluster.kubectl import Kubectl
from tests.support.kube_api.bare import ApiClient, connected

from aristobot.contracts.kubernetes import COMPONENT_LABEL
from benchmarks import report
from benchmarks.cluster import alerting, crowd, living, parts, starting
from benchmarks.cluster.following import Missing
from benchmarks.cluster.release import NAMESPACE, NotInstalled, installed

_HOW = (
    "`../shared/cluster/cluster up` or `kind create cluster --name aristobot-test` makes one for "
    "tests; the image has to be in it."
)
_PARTS = ("start", "live", "alerts", "crowd")


def main() -> None:
    """Ends with 1 when it could not be measured, and with 0 when there is no cluster to measure."""
    arguments = _arguments()
    config = kubeconfig(os.environ)
    if config is None:
        print(f"{VARIABLE} names no cluster, so nothing was measured. {_HOW}")
        return
    if why := refusal(config):
        sys.exit(why)
    missing = [tool for tool in ("kubectl", "helm") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)}: not on the PATH")
    before = report.machine()
    sections: list[report.Section] = []
    problem = None
    try:
        _measure(config, arguments, sections)
    except* (NotInstalled, Missing) as errors:
        problem = f"not measured to the end, with image {arguments.image}: {_first(errors)}"
    sys.stdout.write(report.render(sections) + "\n\n")
    sys.stdout.write(f"measured on {before}; afterwards {report.machine()}\n")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report.as_json(sections, before), indent=1))
    if problem:
        sys.exit(problem)


def _first(errors: BaseException) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    image = os.environ.get("ARISTOBOT_TEST_IMAGE", "docker.io/library/aristobot:test")
    parser.add_argument("--image", default=image, help="which the cluster has; default %(default)s")
    parser.add_argument("--only", choices=_PARTS, action="append", help="may be repeated")
    parser.add_argument("--count", type=int, default=500, help="paused ActiveStrategies")
    parser.add_argument("--changes", type=int, default=100, help="single changes among them")
    parser.add_argument("--live", type=int, default=8, help="strategies that run")
    parser.add_argument("--alerts", type=int, default=600, help="posted at a fixed pace")
    parser.add_argument("--seconds", type=float, default=60, help="over which they are measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    return parser.parse_args()


def _measure(
    config: Mapping[str, Any], arguments: argparse.Namespace, sections: list[report.Section]
) -> None:
    """Fills `sections` one after the other."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as shown:
        task = shown.add_task("installing the release", total=None)

        def progress(what: str, done: int, total: int) -> None:
            shown.update(task, description=what, completed=done, total=total)

        with installed(config["current-context"], arguments.image) as kubectl:
            try:
                asyncio.run(_add_sections(config, kubectl, arguments, progress, sections))
            finally:
                shown.update(task, description="removing the release", completed=0, total=None)


async def _add_sections(
    config: Mapping[str, Any],
    kubectl: Kubectl,
    arguments: argparse.Namespace,
    progress: crowd.Progress,
    sections: list[report.Section],
) -> None:
    wanted = arguments.only or _PARTS
    made = parts.Watched(kubectl)
    made.look("installed")
    async with connected(config, NAMESPACE) as client:
        await crowd.prepare(client, environment="simulator")
        if "start" in wanted:
            section = report.Section("From kubectl apply to Ready")
            await starting.measure(client, section, progress, rounds=3)
            sections.append(section)
        if "live" in wanted:
            section = report.Section("Strategies that run (the EMA 10/20 example)")
            sizes = {"count": arguments.live, "seconds": arguments.seconds}
            await living.measure(client, kubectl, section, progress, **sizes)
            sections.append(section)
            made.look("after strategies ran")
        if "alerts" in wanted:
            section = report.Section(f"Alerts through the Ingress, {alerting.PER_SECOND} a second")
            await alerting.measure(client, kubectl, section, progress, count=arguments.alerts)
            sections.append(section)
            made.look(f"after {arguments.alerts} alerts")
        if "crowd" in wanted:
            section = report.Section(f"{arguments.count} ActiveStrategies at once")
            everybody = crowd.Crowd(client, arguments.count, arguments.changes, progress)
            await everybody.measure(
                section,
                lambda: made.look(f"with {arguments.count} paused"),
                lambda: _kill_operator(client),
            )
            sections.append(section)
        made.look("in the end")
    sections.append(made.section())


async def _kill_operator(client: ApiClient) -> None:
    """As a node that is lost: no notice, no time to give the lease back."""
    path = client.path("v1/pods")
    selector = f"{COMPONENT_LABEL}=operator"
    await client.did("DELETE", path, {"gracePeriodSeconds": 0}, labelSelector=selector)


if __name__ == "__main__":
    main()
