"""Our finalizer is put on and taken off, and those of others stay."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from lightkube import KubeConfig

from aristobot_operator.acting.finalizers import set_finalizer
from aristobot_operator.cache import Cache
from aristobot_operator.kube import Conflict, Kube
from tests.component.operator.conftest import NAMESPACE, broker
from tests.support.kube_api import KubeApi

OURS, THEIRS = "example.com/ours", "example.com/theirs"


@pytest.fixture
async def kube(api: KubeApi) -> AsyncIterator[Kube]:
    kube = Kube(KubeConfig.from_dict(api.config))
    yield kube
    await kube.close()


@pytest.mark.parametrize(("before", "after"), [([], [THEIRS, OURS]), ([OURS], [THEIRS])])
async def test_one_that_somebody_put_on_during_a_pass_stays(
    api: KubeApi, kube: Kube, before: list[str], after: list[str]
) -> None:
    api.put(broker())
    api.patch("Broker", NAMESPACE, "main", {"metadata": {"finalizers": before}})
    cache = Cache()
    found = await kube.get("Broker", NAMESPACE, "main")
    cache.put("Broker", found)
    # While the pass works: theirs comes, and the answer to our write of the status shows it.
    api.patch("Broker", NAMESPACE, "main", {"metadata": {"finalizers": [*before, THEIRS]}})
    cache.put("Broker", await kube.set_status("Broker", NAMESPACE, "main", {"phase": "Ready"}))
    await set_finalizer(kube, cache, found, OURS, wanted=OURS in after)
    assert api.get("Broker", NAMESPACE, "main")["metadata"]["finalizers"] == after


async def test_what_was_decided_on_another_spec_is_not_done(api: KubeApi, kube: Kube) -> None:
    api.put(broker())
    cache = Cache()
    found = await kube.get("Broker", NAMESPACE, "main")
    cache.put("Broker", api.put(broker(number=5)))
    with pytest.raises(Conflict):
        await set_finalizer(kube, cache, found, OURS, wanted=True)
