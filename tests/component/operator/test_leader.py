"""One operator works at a time; one that was killed is replaced when its lease has run out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from lightkube import KubeConfig

from aristobot.core.errors import Fenced
from aristobot_operator import leader
from aristobot_operator.kube import Kube
from aristobot_operator.leader import Leadership
from tests.component.operator.conftest import NAMESPACE
from tests.support.kube_api import KubeApi

LEASE = "aristobot-operator"


@pytest.fixture
async def kube(api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    monkeypatch.setattr(leader, "DURATION_SECONDS", 1)
    monkeypatch.setattr(leader, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(leader, "_RENEW_SECONDS", 0.1)
    kube = Kube(KubeConfig.from_dict(api.config))
    yield kube
    await kube.close()


def holder(api: KubeApi) -> str:
    return str(api.get("Lease", NAMESPACE, LEASE)["spec"]["holderIdentity"])


async def test_a_standby_waits_while_the_lease_is_renewed_and_takes_it_when_it_runs_out(
    api: KubeApi, kube: Kube
) -> None:
    first, second = (Leadership(kube, NAMESPACE, LEASE, name) for name in ("first", "second"))
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    taking = asyncio.create_task(second.acquire())
    await asyncio.sleep(2)  # twice the lease's duration
    assert holder(api) == "first"
    assert not taking.done()
    keeping.cancel()  # as if it were killed: nothing is given back
    async with asyncio.timeout(10):
        await taking
    assert holder(api) == "second"


async def test_whoever_finds_the_lease_with_another_stops(api: KubeApi, kube: Kube) -> None:
    first = Leadership(kube, NAMESPACE, LEASE, "first")
    await first.acquire()
    api.patch("Lease", NAMESPACE, LEASE, {"spec": {"holderIdentity": "second"}})
    with pytest.raises(Fenced, match="another"):
        async with asyncio.timeout(10):
            await first.keep()
    await first.release()
    assert holder(api) == "second"  # what isn't ours is not given back


async def test_whoever_can_t_renew_stops_before_another_may_begin(
    api: KubeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "_GIVE_UP_SECONDS", 0.5)
    first = Leadership(kube, NAMESPACE, LEASE, "first")
    await first.acquire()
    api.fail_next(1000, 500, path="leases")
    with pytest.raises(Fenced, match="renewed"):
        async with asyncio.timeout(10):
            await first.keep()
    assert not first.is_held


async def test_whoever_gets_no_answer_stops_before_another_may_begin(
    api: KubeApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in life, but five times as fast."""
    for name, seconds in (
        ("DURATION_SECONDS", 3),
        ("_RENEW_SECONDS", 0.6),
        ("_RENEWAL_SECONDS", 1.0),
        ("_GIVE_UP_SECONDS", 2.0),
    ):
        monkeypatch.setattr(leader, name, seconds)
    first = Leadership(kube, NAMESPACE, LEASE, "first")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    await asyncio.sleep(1.0)
    assert len(api.requests("PUT", "leases")) == 1  # it was renewed
    api.hang_next(1000, path="leases")
    loop = asyncio.get_running_loop()
    hangs_since = loop.time()
    with pytest.raises(Fenced, match="renewed"):
        async with asyncio.timeout(10):
            await keeping
    # A standby may begin 3 s after the last renewal, which was before.
    assert loop.time() - hangs_since < 2.2
    assert not first.is_held
