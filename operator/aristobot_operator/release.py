"""Lets go of every resource: takes the operator's finalizers off before it is uninstalled.

Without an operator nobody would take them off, and deleting a resource (or its namespace) would
hang for ever. The operator still runs meanwhile and would put them back, so its Lease is seized
first, which ends it; should the uninstallation be called off, the Lease runs out and an operator
begins anew. Nothing is sold or cancelled by it: positions and orders stay as they are. Run by the
chart's pre-delete hook.
"""

from __future__ import annotations

import asyncio

from lightkube import KubeConfig

from aristobot.contracts.kubernetes import IN_USE_FINALIZER, WIND_DOWN_FINALIZER
from aristobot.core.errors import Retryable
from aristobot_operator.cache import name_of
from aristobot_operator.kube import Conflict, Gone, Kube, Object
from aristobot_operator.leader import NOTICED_SECONDS, Leadership
from aristobot_operator.settings import OperatorSettings

_OURS = (WIND_DOWN_FINALIZER, IN_USE_FINALIZER)
_KINDS = ("ActiveStrategy", "Broker")
#: Long enough for the rest of the uninstallation.
_HELD_SECONDS = 120
#: What changes meanwhile is looked at again, so often and so far apart.
_ROUNDS = 10
_ROUND_SECONDS = 1.0


async def release(
    settings: OperatorSettings, *, kube_config: KubeConfig | None = None
) -> list[str]:
    """What was done, one line each. Raises `Retryable` when the API server is away.

    Or when there is no end to it: somebody else puts our finalizers back, or is faster each time.
    """
    kube = Kube(kube_config)
    try:
        leadership = Leadership(
            kube, settings.namespace, f"{settings.release}-operator", "uninstallation"
        )
        await leadership.seize(_HELD_SECONDS)
        if not await _resources(kube, settings):
            return ["there is no resource to let go of"]
        said = await _let_go(kube, settings)
        # What the operator had in hand when it lost the Lease may have put one back.
        await asyncio.sleep(NOTICED_SECONDS)
        for _ in range(_ROUNDS):
            again = await _let_go(kube, settings)
            if not again:
                return said or ["nothing held a finalizer"]
            said += again
            await asyncio.sleep(_ROUND_SECONDS)
        raise Retryable(f"somebody puts finalizers back all the while: {'; '.join(again)}")
    finally:
        await kube.close()


async def _resources(kube: Kube, settings: OperatorSettings) -> list[tuple[str, Object]]:
    found = []
    for namespace in settings.owners:
        for kind in _KINDS:
            try:
                found += [(kind, each) for each in await kube.list(kind, namespace)]
            except Gone:
                continue  # its definition was deleted, and with it every resource
    return found


async def _let_go(kube: Kube, settings: OperatorSettings) -> list[str]:
    """One pass over all of them; a line for each that was let go."""
    said = []
    for kind, found in await _resources(kube, settings):
        metadata = found["metadata"]
        present = metadata.get("finalizers") or []
        kept = [each for each in present if each not in _OURS]
        if len(kept) == len(present):
            continue
        patch = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
        text = f"{kind.lower()}/{name_of(found)} of {metadata['namespace']}"
        try:
            await kube.merge(kind, metadata["namespace"], name_of(found), patch)
        except Gone:
            continue
        except Conflict:
            said.append(f"{text} has changed meanwhile: looked at again")
            continue
        said.append(f"{text} let go")
    return said
