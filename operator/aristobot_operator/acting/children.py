"""Keeps children as they are wanted: applies what is missing or changed, repairs what drifted.

A child that was applied and whose `generation` hasn't moved since needs no call. One that somebody
changed is applied again, as the forced manager of our fields, and what they added is taken out:
server-side apply alone would let a variable that somebody put into a gateway's environment stay.
One of the same name that isn't ours is left alone: it may be somebody's own work, and the
resource's status says so (`acting.pods` asks `whose` it is before).
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
    namespace_of,
    owners_of,
)
from aristobot_operator.kube import Gone, Kube, Object
from aristobot_operator.work_queue import Key


class Whose(Enum):
    """Whom an object belongs to that has the name of a child."""

    OURS = auto()
    #: The child of a deleted resource of the same name, or ours, on its way out.
    GOING = auto()
    THEIRS = auto()


class Step(Enum):
    """What to do about a child."""

    NOTHING = auto()
    APPLY = auto()
    REPAIR = auto()
    #: It is still going, or isn't ours.
    LEAVE = auto()


@dataclass(frozen=True, slots=True)
class Applied:
    """What was applied last, and the `generation` that the API server gave it."""

    digest: str
    generation: int


def next_step(wanted: Object, found: Object | None, applied: Applied | None) -> Step:
    """`found`: the object of that name as it is; `applied`: by this process."""
    if found is None:
        return Step.APPLY
    (reference,) = wanted["metadata"]["ownerReferences"]
    if whose(reference["uid"], found) is not Whose.OURS:
        return Step.LEAVE
    digest = annotations_of(wanted)[DIGEST_ANNOTATION]
    if annotations_of(found).get(DIGEST_ANNOTATION) != digest or applied is None:
        return Step.APPLY
    if applied.digest != digest:
        return Step.APPLY
    if found["metadata"]["generation"] != applied.generation:
        return Step.REPAIR
    return Step.NOTHING


def whose(uid: str, found: Object) -> Whose:
    """`uid`: of the resource that asks. What has our label and no owner was orphaned: ours."""
    owners = owners_of(found)
    is_made_by_us = labels_of(found).get(MANAGED_BY_LABEL) == OPERATOR
    if uid in owners or (is_made_by_us and not owners):
        return Whose.GOING if is_deleting(found) else Whose.OURS
    return Whose.GOING if is_made_by_us else Whose.THEIRS


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

    async def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object of that name, also a Deployment without our label, which isn't followed."""
        found = self._cache.get(kind, namespace, name)
        if found is None and kind == "Deployment":
            found = await self._kube.find(kind, namespace, name)
        return found

    async def ensure(self, wanted: Object) -> Step:
        """Make the child as wanted; what was done.

        One that the cache hasn't got is taken to be missing: see `find`.
        """
        kind, key = wanted["kind"], key_of(wanted["kind"], wanted)
        found = self._cache.get(kind, key.namespace, key.name)
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

    async def rest(self, owner: Object, name: str) -> None:
        """Scale the owner's Deployment to zero; one that isn't there isn't made."""
        namespace = namespace_of(owner)
        found = self._cache.get("Deployment", namespace, name)
        if found is None or found["spec"].get("replicas") == 0:
            return
        if whose(owner["metadata"]["uid"], found) is not Whose.OURS:
            return
        patch = {"spec": {"replicas": 0}}
        try:
            done = await self._kube.merge("Deployment", namespace, name, patch)
        except Gone:
            return
        # Our own doing is no drift to be repaired later.
        self._applied.pop(key_of("Deployment", done), None)
        self._cache.put("Deployment", done)
