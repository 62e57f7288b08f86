"""Keeps children as they are wanted: applies what is missing or changed, repairs what drifted.

A child that was applied and whose `generation` hasn't moved since needs no call. One that somebody
changed is applied again, as the forced manager of our fields, and what they added is taken out:
server-side apply alone would let a variable that somebody put into a gateway's environment stay.
One of the same name that isn't ours is left alone: it may be somebody's own work, and the
resource's status says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from aristobot.contracts.kubernetes import DIGEST_ANNOTATION, MANAGED_BY_LABEL, OPERATOR
from aristobot_operator.cache import (
    Cache,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
)
from aristobot_operator.kube import Kube, Object
from aristobot_operator.work_queue import Key


class Step(Enum):
    """What to do about a child."""

    NOTHING = auto()
    APPLY = auto()
    REPAIR = auto()
    #: The child of a deleted resource of the same name is still going.
    WAIT = auto()
    #: Somebody else's object has the name.
    TAKEN = auto()


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last, and the `generation` that the API server gave it."""

    digest: str
    generation: int


def next_step(wanted: Object, found: Object | None, applied: Applied | None) -> Step:
    """`found`: the object of that name as it is; `applied`: by this process."""
    if found is None:
        return Step.APPLY
    if not _is_ours(wanted, found):
        return Step.WAIT if labels_of(found).get(MANAGED_BY_LABEL) == OPERATOR else Step.TAKEN
    if is_deleting(found):
        return Step.WAIT
    digest = annotations_of(wanted)[DIGEST_ANNOTATION]
    if annotations_of(found).get(DIGEST_ANNOTATION) != digest or applied is None:
        return Step.APPLY
    if applied.digest != digest:
        return Step.APPLY
    if found["metadata"]["generation"] != applied.generation:
        return Step.REPAIR
    return Step.NOTHING


def _is_ours(wanted: Object, found: Object) -> bool:
    (reference,) = wanted["metadata"]["ownerReferences"]
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == reference["uid"] for owner in owners)


def is_shared(found: Object) -> bool:
    """Whether somebody beside us has set anything in its spec, as `managedFields` tells."""
    return any(
        entry.get("manager") != OPERATOR and "f:spec" in (entry.get("fieldsV1") or {})
        for entry in found["metadata"].get("managedFields") or ()
    )


def only_ours(wanted: Object, found: Object) -> Object:
    """The update of `found`, which was just applied, that takes out all that we didn't put in.

    The API server fills its defaults in again. It changes no value of ours, so ours they stay. It
    names no version: the Deployment's controller has written its status meanwhile, as always.
    """
    metadata = {
        name: value for name, value in found["metadata"].items() if name != "resourceVersion"
    }
    if "managedFields" in metadata:
        metadata["managedFields"] = [
            entry for entry in metadata["managedFields"] if entry.get("manager") == OPERATOR
        ]
    return {**wanted, "metadata": metadata}


class Children:
    def __init__(self, kube: Kube, cache: Cache) -> None:
        self._kube = kube
        self._cache = cache
        self._applied: dict[Key, Applied] = {}

    async def ensure(self, wanted: Object) -> Step:
        """Make the child as wanted; what was done, or why it wasn't."""
        kind, namespace, name = wanted["kind"], namespace_of(wanted), name_of(wanted)
        key = key_of(kind, wanted)
        found = self._cache.get(kind, namespace, name)
        if found is None:
            # Not in the cache: missing, or without our label.
            found = await self._kube.find(kind, namespace, name)
        step = next_step(wanted, found, self._applied.get(key))
        if step in (Step.APPLY, Step.REPAIR):
            done = await self._kube.apply(wanted)
            if step is Step.REPAIR or is_shared(done):
                done = await self._kube.replace(only_ours(wanted, done))
            self._applied[key] = Applied(
                annotations_of(wanted)[DIGEST_ANNOTATION], done["metadata"]["generation"]
            )
            self._cache.put(kind, done)
        return step
