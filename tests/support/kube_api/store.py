"""The objects, and every rule of writing them. No I/O but the clock and uids.

One counter gives resource versions to all kinds, as etcd's revision does. Each write is remembered
as a change, which watches read. Every method is done when it returns, the garbage collector's work
included; a real cluster takes its time for that.
"""

from __future__ import annotations

import copy
import itertools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import jsonpointer

from tests.support.kube_api import fields, writes
from tests.support.kube_api.failures import Failure, conflict, invalid, not_found
from tests.support.kube_api.fields import Owner
from tests.support.kube_api.kinds import Kind
from tests.support.kube_api.rules import check_built_in, check_metadata, settle

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for what has none), name

_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True)
class Change:
    """One write. `old` is None for a creation, `new` for a removal; both are never changed."""

    version: int
    kind: Kind
    old: Object | None
    new: Object | None


@dataclass(frozen=True)
class Write:
    """Who writes, and what of the object: "" (all but the status) or "status"."""

    manager: str
    subresource: str = ""
    dry_run: bool = False


@dataclass
class Store:
    kinds: tuple[Kind, ...]
    #: How many changes are kept for watches that resume.
    remembered: int = 10_000
    version: int = 1
    changes: list[Change] = field(default_factory=list)
    #: Told of each change, at once.
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    _objects: dict[Kind, dict[Key, Object]] = field(default_factory=dict)
    _owners: dict[tuple[Kind, Key], dict[Owner, fields.Fields]] = field(default_factory=dict)
    _names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def kind_of(self, api_version: str, kind: str) -> Kind | None:
        return next((k for k in self.kinds if (k.api_version, k.kind) == (api_version, kind)), None)

    @property
    def oldest(self) -> int:
        """The oldest resource version that a watch can resume from."""
        return self.changes[0].version - 1 if self.changes else self.version

    def forget(self) -> None:
        """Drop all remembered changes, as etcd's compaction does."""
        self.version += 1
        self.changes.clear()

    # Reading

    def list(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Copies, by namespace and name. `namespace`: "" for all."""
        held = self._objects.get(kind, {})
        return [
            copy.deepcopy(held[key]) for key in sorted(held) if not namespace or key[0] == namespace
        ]

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return copy.deepcopy(self._live(kind, (namespace, name)))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(self._objects.get(kind, {}).get((namespace, name)))

    def owners(self, kind: Kind, namespace: str, name: str) -> Mapping[Owner, fields.Fields]:
        return dict(self._owners.get((kind, (namespace, name)), {}))

    # Writing

    def create(self, kind: Kind, namespace: str, obj: Object, write: Write) -> Object:
        kind.decode(obj, code=400)
        owner = Owner(write.manager, "Update")
        return self._create(
            kind, namespace, obj, write, lambda made: {owner: fields.fields_of(made, kind.shape)}
        )

    def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, write: Write
    ) -> tuple[Object, bool]:
        """PUT. Returns the object, and whether it was created."""
        kind.decode(obj, code=400)
        given = (obj.get("metadata") or {}).get("resourceVersion")
        if not (obj.get("metadata") or {}).get("name"):
            raise Failure(400, f"the name of the object ({name} based on URL) was undeterminable")
        if kind.create_on_update and self.find(kind, namespace, name) is None:
            return self.create(kind, namespace, obj, write), True
        self._live(kind, (namespace, name))
        if not given and not kind.unconditional_update:
            cause = "Invalid value: 0: must be specified for an update"
            raise invalid(kind.qualified, name, [("metadata.resourceVersion", cause)])
        return self._update(kind, (namespace, name), obj, write), False

    def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, write: Write
    ) -> Object:
        live = self._live(kind, (namespace, name))
        patched = writes.merged(live, patch)
        kind.decode(patched, code=422)
        return self._update(kind, (namespace, name), patched, write)

    def json_patch(
        self, kind: Kind, namespace: str, name: str, patch: list[Object], write: Write
    ) -> Object:
        live = self._live(kind, (namespace, name))
        try:
            patched = jsonpatch.apply_patch(copy.deepcopy(live), patch)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise Failure(422, "the server rejected our request due to an error in our request"
                          f" ({error})", reason="Invalid") from None  # fmt: skip
        return self._update(kind, (namespace, name), patched, write)

    def apply(
        self, kind: Kind, namespace: str, name: str, config: Object, write: Write, *, force: bool
    ) -> tuple[Object, bool]:
        """Server-side apply. Returns the object, and whether it was created."""
        who = Owner(write.manager, "Apply", write.subresource)
        key = (namespace, name)
        metadata = config.setdefault("metadata", {})
        if config.get("apiVersion") != kind.api_version or config.get("kind") != kind.kind:
            raise Failure(400, f"apiVersion and kind have to be {kind.api_version} {kind.kind}")
        if metadata.setdefault("name", name) != name:
            raise Failure(
                400, f"the name of the object ({metadata['name']}) is not that of the URL"
            )
        if metadata.get("managedFields") is not None:
            raise Failure(400, "metadata.managedFields must be nil")
        kind.decode_applied(config)
        there = self.find(kind, namespace, name)
        if metadata.get("uid") and (not there or there["metadata"]["uid"] != metadata["uid"]):
            raise invalid(kind.qualified, name, [("metadata.uid", "field is immutable")])
        if there is None:
            if write.subresource:
                raise not_found(kind.resource, name)
            metadata.pop("resourceVersion", None)
            wanted = fields.fields_of(writes.part(kind, config, write.subresource), kind.shape)
            return self._create(kind, namespace, config, write, lambda _: {who: wanted}), True
        live = self._live(kind, key)
        ours = writes.part(kind, config, write.subresource)
        try:
            merged, owners = fields.apply(
                live, self._owners[kind, key], ours, who, kind.shape, force=force
            )
        except fields.Conflict as found:
            causes = [(path, f"conflict with {owner}") for owner, path in found.fields]
            raise Failure(409, f"Apply failed with {found}", causes=causes) from None
        if "resourceVersion" in metadata:
            merged["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        return self._update(kind, key, merged, write, owners), False

    def delete(
        self, kind: Kind, namespace: str, name: str, options: Mapping[str, Any], *, dry_run: bool
    ) -> tuple[Object, bool]:
        """Returns the object, and whether it is gone (or waits for its finalizers)."""
        key = (namespace, name)
        live = self._live(kind, key)
        metadata = live["metadata"]
        for what, wanted in (options.get("preconditions") or {}).items():
            if wanted is not None and metadata.get(what) != wanted:
                raise _precondition_failed(kind, name, what, wanted, metadata.get(what))
        policy = options.get("propagationPolicy") or "Background"
        if policy not in ("Background", "Orphan"):
            raise Failure(422, f"this double does not do propagationPolicy {policy}")
        if dry_run:
            return copy.deepcopy(live), not metadata.get("finalizers")
        if policy == "Orphan":
            self._orphan(metadata["uid"])
        if not metadata.get("finalizers"):
            return self._remove(kind, key), True
        if "deletionTimestamp" in metadata:
            return copy.deepcopy(live), False
        marked = copy.deepcopy(live)
        marked["metadata"]["deletionTimestamp"] = _now()
        marked["metadata"]["deletionGracePeriodSeconds"] = 0
        if "generation" in marked["metadata"]:
            marked["metadata"]["generation"] += 1
        return self._put(kind, key, marked), False

    # Within

    def _live(self, kind: Kind, key: Key) -> Object:
        try:
            return self._objects[kind][key]
        except KeyError:
            raise not_found(kind.resource, key[1]) from None

    def _create(
        self,
        kind: Kind,
        namespace: str,
        obj: Object,
        write: Write,
        owned: Callable[[Object], dict[Owner, fields.Fields]],
    ) -> Object:
        made = copy.deepcopy(obj)
        made["apiVersion"], made["kind"] = kind.api_version, kind.kind
        metadata = made.setdefault("metadata", {})
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise invalid(
                    kind.qualified,
                    "",
                    [("metadata.name", "Required value: name or generateName is required")],
                )
            metadata["name"] = f"{metadata['generateName']}{next(self._names):05x}"
        name = metadata["name"]
        if kind.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise Failure(
                    400, "the namespace of the object does not match the namespace on the URL"
                )
            if all(ns["metadata"]["name"] != namespace for ns in self._namespaces()):
                raise not_found("namespaces", namespace)
        if metadata.get("resourceVersion"):
            raise Failure(500, "resourceVersion should not be set on objects to be created")
        if (namespace, name) in self._objects.get(kind, {}):
            raise Failure(409, f'{kind.resource} "{name}" already exists', reason="AlreadyExists")
        if kind.status:
            made.pop("status", None)
        for given in (*writes.SERVER_METADATA, "managedFields"):
            metadata.pop(given, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        if kind.generation:
            metadata["generation"] = 1
        owners = owned(made)
        settle(kind, made)
        self._check(kind, made, None)
        key = (namespace if kind.namespaced else "", name)
        if write.dry_run:
            return made
        self._owners[kind, key] = owners
        stored = self._put(kind, key, made)
        self._collect_if_ownerless(kind, key, stored)
        return stored

    def _update(
        self,
        kind: Kind,
        key: Key,
        new: Object,
        write: Write,
        owners: dict[Owner, fields.Fields] | None = None,
    ) -> Object:
        """Write what belongs to the subresource. `owners` are found by comparing, unless given."""
        live = self._live(kind, key)
        given = new.get("metadata") or {}
        version = given.get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            raise conflict(kind.resource, key[1], _MODIFIED)
        if given.get("uid") and given["uid"] != live["metadata"]["uid"]:
            raise _precondition_failed(kind, key[1], "UID", given["uid"], live["metadata"]["uid"])
        if given.get("name", key[1]) != key[1] or given.get("namespace", key[0]) != key[0]:
            raise Failure(400, "the name or namespace of the object does not match the URL")
        made = writes.written(kind, live, new, write.subresource)
        settle(kind, made)
        if owners is None:
            who = Owner(write.manager, "Update", write.subresource)
            owners = fields.update(live, made, self._owners[kind, key], who, kind.shape)
        self._check(kind, made, live)
        if kind.generation and writes.counted(made) != writes.counted(live):
            made["metadata"]["generation"] = live["metadata"]["generation"] + 1
        if write.dry_run:
            return made
        if made == live and owners == self._owners[kind, key]:
            return copy.deepcopy(live)
        self._owners[kind, key] = owners
        if "deletionTimestamp" in made["metadata"] and not made["metadata"].get("finalizers"):
            return self._remove(kind, key, made)
        return self._put(kind, key, made)

    def _check(self, kind: Kind, made: Object, old: Object | None) -> None:
        check_metadata(kind, made, old)
        kind.admit(made)
        check_built_in(kind, made, old)

    def _put(self, kind: Kind, key: Key, obj: Object) -> Object:
        old = self._objects.get(kind, {}).get(key)
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self._objects.setdefault(kind, {})[key] = obj
        self._tell(Change(self.version, kind, old, obj))
        return copy.deepcopy(obj)

    def _remove(self, kind: Kind, key: Key, last: Object | None = None) -> Object:
        old = self._objects[kind].pop(key)
        del self._owners[kind, key]
        self.version += 1
        gone = copy.deepcopy(last or old)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell(Change(self.version, kind, gone, None))
        self._collect(gone["metadata"]["uid"])
        if kind.resource == "namespaces":
            for other in self.kinds:
                for obj in self.list(other, key[1]) if other.namespaced else ():
                    self.delete(other, key[1], obj["metadata"]["name"], {}, dry_run=False)
        return gone

    def _tell(self, change: Change) -> None:
        self.changes.append(change)
        del self.changes[: -self.remembered]
        for listener in list(self.listeners):
            listener(change)

    def _namespaces(self) -> list[Object]:
        return list(self._objects.get(self.kind_of("v1", "Namespace"), {}).values())  # type: ignore[arg-type]

    # Garbage collection by owner references

    def _dependents(self, uid: str) -> list[tuple[Kind, Key]]:
        return [
            (kind, key)
            for kind, held in self._objects.items()
            for key, obj in held.items()
            if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences") or ())
        ]

    def _collect(self, uid: str) -> None:
        for kind, key in self._dependents(uid):
            if (obj := self._objects[kind].get(key)) is not None:
                self._collect_if_ownerless(kind, key, obj)

    def _collect_if_ownerless(self, kind: Kind, key: Key, obj: Object) -> None:
        references = obj["metadata"].get("ownerReferences") or ()
        if references and not any(self._exists(ref, key[0]) for ref in references):
            self.delete(kind, *key, {}, dry_run=False)

    def _exists(self, reference: Object, namespace: str) -> bool:
        kind = self.kind_of(reference["apiVersion"], reference["kind"])
        if kind is None:
            return True  # Not one that the double knows: nothing can be said.
        owner = self._objects.get(kind, {}).get(
            (namespace if kind.namespaced else "", reference["name"])
        )
        return owner is not None and owner["metadata"]["uid"] == reference["uid"]

    def _orphan(self, uid: str) -> None:
        for kind, key in self._dependents(uid):
            freed = copy.deepcopy(self._objects[kind][key])
            metadata = freed["metadata"]
            kept = [ref for ref in metadata["ownerReferences"] if ref["uid"] != uid]
            metadata["ownerReferences"] = kept
            if not kept:
                del metadata["ownerReferences"]
            self._put(kind, key, freed)


def _precondition_failed(kind: Kind, name: str, what: str, wanted: str, found: str) -> Failure:
    shown = f"{what} in precondition: {wanted}, {what} in object meta: {found}"
    return conflict(kind.resource, name, f"Precondition failed: {shown}")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
