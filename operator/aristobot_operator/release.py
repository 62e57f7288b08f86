"""Lets go of every resource: takes the operator's finalizers off before it is uninstalled.

Without an operator nobody would take them off, and deleting a resource (or its namespace) would
hang for ever. Nothing is sold or cancelled by it: positions and orders stay as they are. Run by the
chart's pre-delete hook.
"""

from __future__ import annotations

from aristobot.contracts.kubernetes import IN_USE_FINALIZER, WIND_DOWN_FINALIZER
from aristobot_operator.cache import name_of
from aristobot_operator.kube import Gone, Kube
from aristobot_operator.settings import OperatorSettings

_OURS = (WIND_DOWN_FINALIZER, IN_USE_FINALIZER)


async def release(settings: OperatorSettings) -> list[str]:
    """What was done, one line each. Raises `Retryable` when the API server is away."""
    kube = Kube()
    said = []
    try:
        for namespace in settings.owners:
            for kind in ("ActiveStrategy", "Broker"):
                for found in await kube.list(kind, namespace):
                    present = found["metadata"].get("finalizers") or []
                    kept = [each for each in present if each not in _OURS]
                    if len(kept) == len(present):
                        continue
                    patch = {
                        "metadata": {
                            "finalizers": kept,
                            "resourceVersion": found["metadata"]["resourceVersion"],
                        }
                    }
                    try:
                        await kube.merge(kind, namespace, name_of(found), patch)
                    except Gone:
                        continue
                    said.append(f"{kind.lower()}/{name_of(found)} of {namespace} let go")
    finally:
        await kube.close()
    return said or ["nothing held a finalizer"]
