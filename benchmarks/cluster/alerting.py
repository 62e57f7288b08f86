"""Trading alerts through the Ingress for a while, so that every part has had real work to do.

For the memory that the parts need afterwards; `make bench` measures how fast they are.
"""

from __future__ import annotations

import asyncio
import os
import time

import httpx
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import INGRESS_VARIABLE
from tests.support.kube_api.bare import MERGE, ApiClient

from benchmarks.bodies import trade
from benchmarks.cluster.crowd import Progress
from benchmarks.cluster.documents import BROKER, BROKERS
from benchmarks.cluster.release import HOST, RELEASE
from benchmarks.report import Section, percentile

PER_SECOND = 20
_ADDRESS_SECONDS = 30.0
_SETTLE_SECONDS = 10


async def measure(
    client: ApiClient, kubectl: Kubectl, section: Section, progress: Progress, *, count: int
) -> None:
    """Post `count` alerts at a fixed pace; the Broker trades by them meanwhile."""
    await _trade_by(client, "webhook")
    token = kubectl.secret(f"{BROKER}-webhook")["token"]
    url = f"{await _address(kubectl)}/webhook/{token}"
    await asyncio.sleep(_SETTLE_SECONDS)
    answers: list[tuple[int, float]] = []
    async with (
        httpx.AsyncClient(headers={"host": HOST}, timeout=10, trust_env=False) as http,
        asyncio.TaskGroup() as tasks,
    ):
        started = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.monotonic()))
            tasks.create_task(_post(http, url, number, answers))
            progress("alerts sent", number + 1, count)
    await asyncio.sleep(_SETTLE_SECONDS)
    await _trade_by(client, "strategy")
    taken = [1000 * seconds for status, seconds in answers if status == httpx.codes.OK]
    if not taken:
        raise RuntimeError(f"no alert was taken: {answers[0]}")
    section.add(
        "answered 200, p50", percentile(taken, 0.5), "ms", note=f"{len(taken)} of {count} were"
    )
    section.add("answered 200, p99", percentile(taken, 0.99), "ms")
    section.raw["answered_ms"] = taken


async def _trade_by(client: ApiClient, mode: str) -> None:
    patch = {"spec": {"tradingMode": mode}}
    await client.did("PATCH", client.path(BROKERS, BROKER), patch, MERGE)


async def _post(
    http: httpx.AsyncClient, url: str, number: int, answers: list[tuple[int, float]]
) -> None:
    started = time.monotonic()
    try:
        answer = await http.post(url, content=trade(number, BROKER))
    except httpx.TransportError:
        answers.append((0, 0.0))
        return
    answers.append((answer.status_code, time.monotonic() - started))


async def _address(kubectl: Kubectl) -> str:
    """Of the ingress controller, as the environment or the Ingress tells it."""
    if told := os.environ.get(INGRESS_VARIABLE):
        return told
    give_up_at = time.monotonic() + _ADDRESS_SECONDS
    while time.monotonic() < give_up_at:
        found = kubectl.get("ingress", f"{RELEASE}-aristobot-ingress") or {}
        balancers = found.get("status", {}).get("loadBalancer", {}).get("ingress", ())
        for each in balancers:
            if "ip" in each:
                return f"http://{each['ip']}"
        await asyncio.sleep(1)
    raise RuntimeError("the Ingress has no address: is an ingress controller there?")
