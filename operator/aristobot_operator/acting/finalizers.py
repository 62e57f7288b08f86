"""Puts a finalizer on a resource and takes it off, guarded by the resource's version."""

from __future__ import annotations

from aristobot_operator.cache import Cache, is_deleting, name_of, namespace_of
from aristobot_operator.kube import Gone, Kube, Object


async def set_finalizer(
    kube: Kube, cache: Cache, found: Object, finalizer: str, *, wanted: bool
) -> None:
    """Raises `Conflict` when the resource has changed meanwhile: the next pass looks again."""
    present: list[str] = list(found["metadata"].get("finalizers") or ())
    if (finalizer in present) == wanted:
        return
    if wanted and is_deleting(found):
        return  # the API server takes no new one then
    others = [each for each in present if each != finalizer]
    kind, namespace, name = found["kind"], namespace_of(found), name_of(found)
    current = cache.get(kind, namespace, name) or found
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
