"""The desired state on Kubernetes: the custom resources themselves, as a `ResourceStore`.

`apply` replaces the spec, by a JSON Patch, adds the file's labels and annotations, and leaves the
rest alone. Server-side apply would not do: it keeps every field that another manager has set and
the file doesn't mention, so an `end` that `strategy stop` or kubectl wrote would outlive a file
without one, and the embedded platform would do otherwise. So a file's spec counts as it stands,
whoever wrote the last one; `managedFields` then names us as the author of what changed. The API
server judges by the CRDs and fills in defaults. Deliberately not here: waiting for the operator.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aristobot.contracts.kubernetes import GROUP, VERSION
from aristobot.contracts.resources import (
    GROUP_VERSION,
    ActiveStrategy,
    Broker,
    Document,
    SecretDocument,
    Strategy,
)
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.db import EVERY_OWNER
from aristobot.platform.kube_api import (
    JSON_PATCH,
    MERGE_PATCH,
    Conflicting,
    KubeApi,
    Missing,
    connect,
)
from aristobot.platform.kubeconfig import ClusterAccess
from aristobot.platform.resource_store import (
    Applied,
    StoredResource,
    changed_fields,
    changed_meanwhile,
    number_taken,
    spec_of,
)

_PLURALS = {
    "Broker": "brokers",
    "Strategy": "strategies",
    "ActiveStrategy": "activestrategies",
}
#: RFC 1123 subdomain, as all names of objects and namespaces are.
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
#: Somebody creates, deletes or reports on the object between our two requests; rarely twice.
_ATTEMPTS = 5


class KubernetesResourceStore:
    """`ResourceStore` on one cluster; an owner is a namespace."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def apply(self, owner: str, document: Document) -> Applied:
        """Create the resource, or make its spec what the document says."""
        if isinstance(document, SecretDocument):
            return await self._apply_secret(owner, document)
        await self._require_free_number(owner, document)
        spec = spec_of(document)
        whole = {
            "apiVersion": GROUP_VERSION,
            "kind": document.kind,
            "metadata": _metadata(owner, document),
            "spec": spec,
        }
        return await self._put(whole, [{"op": "replace", "path": "/spec", "value": spec}])

    async def _put(
        self, whole: Mapping[str, Any], replacing: Sequence[Mapping[str, Any]]
    ) -> Applied:
        """Create it, or patch what is there, with the new labels and annotations."""
        kind, metadata = whole["kind"], whole["metadata"]
        owner, name = metadata["namespace"], metadata["name"]
        path = _object(owner, kind, name)
        for _ in range(_ATTEMPTS):
            before = await self._read(path)
            try:
                if before is None:
                    await self._api.create(_collection(owner, kind), whole)
                    return Applied.CREATED
                if "deletionTimestamp" in before["metadata"]:
                    # It would be changed and then go, with what the file says about its end.
                    raise Retryable(
                        f"{kind} {name} is being deleted: apply it again once it is gone"
                    )
                marks = _new_marks(before["metadata"], metadata)
                after = await self._api.patch(path, [*replacing, *marks], JSON_PATCH)
            except (Conflicting, Missing):
                continue
            same = not marks and _is_same(before, after)
            return Applied.UNCHANGED if same else Applied.CONFIGURED
        raise Retryable(f"{kind} {name} is changed by others all the time; try again later")

    async def _apply_secret(self, owner: str, document: SecretDocument) -> Applied:
        data = {
            key: base64.b64encode(value.encode()).decode()
            for key, value in document.values().items()
        }
        whole = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": _metadata(owner, document),
            "type": document.type,
            "data": data,
        }
        patch = [
            {"op": "add", "path": "/data", "value": data},
            {"op": "add", "path": "/type", "value": document.type},
        ]
        return await self._put(whole, patch)

    async def _require_free_number(
        self, owner: str, document: Broker | Strategy | ActiveStrategy
    ) -> None:
        # A courtesy to whoever types: two commands at once can pass it, and kubectl doesn't ask.
        number = document.spec.number if isinstance(document, Broker) else None
        if number is None:
            return
        for other in await self.list(owner, "Broker"):
            if other.name != document.metadata.name and other.spec.get("number") == number:
                raise number_taken(number, other.name)

    async def change(self, seen: StoredResource, changes: Mapping[str, Any]) -> None:
        """Change fields of the spec. Raises `ChangedMeanwhile` when it isn't as `seen` any more."""
        fields = changed_fields(seen, changes)
        path = _object(seen.owner, seen.kind, seen.name)
        for _ in range(_ATTEMPTS):
            now = await self._read(path)
            if now is None or _identity(now) != (seen.uid, seen.generation):
                raise changed_meanwhile(seen)
            # A status written meanwhile changes the version too, and is no reason to give up.
            version = now["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "spec": fields}
            try:
                await self._api.patch(path, patch, MERGE_PATCH)
            except (Conflicting, Missing):
                continue
            return
        raise changed_meanwhile(seen)

    async def list(self, owner: str, kind: str) -> Sequence[StoredResource]:
        """All resources of a kind, by name; `EVERY_OWNER` lists those of all namespaces."""
        found = await self._api.list(_collection(owner, kind))
        stored = [_stored({**item, "kind": kind}) for item in found]
        return sorted(stored, key=lambda each: (each.owner, each.name))

    async def get(self, owner: str, kind: str, name: str) -> StoredResource | None:
        """One resource as it stands now; None when there is none."""
        found = await self._read(_object(owner, kind, name))
        return None if found is None else _stored(found)

    async def secret_names(self, owner: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Names of the namespace's Secrets and of their entries; values are thrown away here."""
        found = await self._api.list(_collection(owner, "Secret"))
        return sorted(
            (item["metadata"]["name"], tuple(sorted(item.get("data") or ()))) for item in found
        )

    async def delete(self, owner: str, kind: str, name: str) -> bool:
        """Ask for the deletion; False when there was none. A finalizer may put it off."""
        try:
            await self._api.delete(_object(owner, kind, name))
        except Missing:
            return False
        return True

    async def set_status(self, owner: str, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Replace the status by the subresource; nothing happens when the resource is gone."""
        patch = [{"op": "add", "path": "/status", "value": dict(status)}]
        try:
            await self._api.patch(f"{_object(owner, kind, name)}/status", patch, JSON_PATCH)
        except Missing:
            return

    async def _read(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._api.get(path)
        except Missing:
            return None


@asynccontextmanager
async def open_kubernetes_store(access: ClusterAccess) -> AsyncIterator[KubernetesResourceStore]:
    """The store on the cluster that `access` names."""
    async with connect(access) as api:
        yield KubernetesResourceStore(api)


def _collection(owner: str, kind: str) -> str:
    group = "/api/v1" if kind == "Secret" else f"/apis/{GROUP}/{VERSION}"
    where = "" if owner == EVERY_OWNER else f"/namespaces/{_segment(owner, 'namespace')}"
    return f"{group}{where}/{_PLURALS.get(kind, 'secrets')}"


def _object(owner: str, kind: str, name: str) -> str:
    return f"{_collection(owner, kind)}/{_segment(name, 'name')}"


def _segment(text: str, what: str) -> str:
    # Without a name, the path would mean all there are: a DELETE of that deletes all.
    if not _NAME.fullmatch(text):
        raise Misconfigured(f"{text!r} is not a {what} that Kubernetes knows")
    return text


def _metadata(owner: str, document: Document) -> dict[str, Any]:
    given = document.metadata
    marks = {"labels": given.labels, "annotations": given.annotations}
    return {
        "name": given.name,
        "namespace": owner,
        **{key: dict(value) for key, value in marks.items() if value},
    }


def _new_marks(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What adds the labels and annotations that are wanted; those of others stay."""
    patch = []
    for key in ("labels", "annotations"):
        given, present = wanted.get(key, {}), there.get(key)
        if given and present is None:
            patch.append({"op": "add", "path": f"/metadata/{key}", "value": given})
        for name in given.keys() if present is not None else ():
            if present.get(name) != given[name]:
                pointer = name.replace("~", "~0").replace("/", "~1")  # RFC 6901
                path = f"/metadata/{key}/{pointer}"
                patch.append({"op": "add", "path": path, "value": given[name]})
    return patch


def _identity(item: Mapping[str, Any]) -> tuple[str, int]:
    return item["metadata"]["uid"], item["metadata"]["generation"]


def _is_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the desired state is the same. A Secret has no generation, so its content counts."""
    if before["metadata"]["uid"] != after["metadata"]["uid"]:
        return False
    if "generation" in after["metadata"]:
        return _identity(before) == _identity(after)
    return before.get("data") == after.get("data")


def _stored(item: Mapping[str, Any]) -> StoredResource:
    metadata = item["metadata"]
    going = metadata.get("deletionTimestamp")
    return StoredResource(
        owner=metadata["namespace"],
        kind=item["kind"],
        name=metadata["name"],
        uid=metadata["uid"],
        spec=item["spec"],
        generation=metadata["generation"],
        created_at=_moment(metadata["creationTimestamp"]),
        status=item.get("status") or {},
        deletion_asked_at=None if going is None else _moment(going),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
