"""Puts a finalizer on a resource and takes it off, guarded by the resource's version."""

from __future__ import annotations

from aristobot_operator.cache import Cache, finalizers_of, is_deleting, name_of, namespace_of
from aristobot_operator.kube import Conflict, Gone, Kube, Object

_DECIDED_ON = ("uid", "generation", "deletionTimestamp")


async def set_finalizer(
    kube: Kube, cache: Cache, found: Object, finalizer: str, *, wanted: bool
) -> None:
    """Raises `Conflict` when the resource isn't as it was decided on any more: look again.

    The list and the version that guards it are of one object, the newest known: our own write of
    the status has made `found` old, and somebody may have put a finalizer on it since.
    """
    kind, namespace, name = found["kind"], namespace_of(found), name_of(found)
    current = cache.get(kind, namespace, name)
    if current is None:
        return
    if any(current["metadata"].get(each) != found["metadata"].get(each) for each in _DECIDED_ON):
        raise Conflict(f"{kind} {namespace}/{name} has changed")
    present = finalizers_of(current)
    if (finalizer in present) == wanted:
        return
    if wanted and is_deleting(current):
        return  # the API server takes no new one then
    others = [each for each in present if each != finalizer]
    patch = {
        "metadata": {
            "finalizers": [*others, finalizer] if wanted else others,
            "resourceVersion": current["metadata"]["resourceVersion"],
        }
    }
    try:
        cache.put(kind, await kube.merge(kind, namespace, name, patch))
    except Gone:
        return
