"""The Kubernetes API as the operator uses it: plain dicts in and out, every call with a timeout.

lightkube does the work; here are the kinds we touch, and what its errors mean to us. Watching is
kopf's (`watching`). Deliberately not here: deciding what to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from aristobot.contracts.kubernetes import GROUP, OPERATOR, VERSION
from aristobot.core.errors import AristobotError, Retryable

Object = dict[str, Any]

_TIMEOUT_SECONDS: Final = 10.0
#: Lists come in pieces of so many, so that reading a long one doesn't hold up everything else.
_CHUNK: Final = 100

# `Any`: lightkube has no types for kinds that are made at run time.
_KINDS: Final[dict[str, Any]] = {
    kind: create_namespaced_resource(group, version, kind, plural)
    for kind, group, version, plural in (
        ("Broker", GROUP, VERSION, "brokers"),
        ("Strategy", GROUP, VERSION, "strategies"),
        ("ActiveStrategy", GROUP, VERSION, "activestrategies"),
        ("Secret", "", "v1", "secrets"),
        ("ConfigMap", "", "v1", "configmaps"),
        ("Pod", "", "v1", "pods"),
        ("Event", "", "v1", "events"),
        ("Deployment", "apps", "v1", "deployments"),
        ("Lease", "coordination.k8s.io", "v1", "leases"),
    )
}


class Gone(AristobotError):
    """The object isn't there (any more)."""


class Conflict(AristobotError):
    """The object changed since it was read, or exists already: look again."""


class Denied(Retryable):
    """The API server refuses it: by its schema, a right, a quota or an admission webhook.

    That passes when somebody changes something, so it is tried again; its text is for the status.
    """


class Kube:
    """Every call raises `Gone`, `Conflict`, `Denied`, or `Retryable` for what passes by itself."""

    def __init__(self, config: KubeConfig | None = None) -> None:
        self._client: Any = AsyncClient(
            config=config,
            timeout=httpx2.Timeout(_TIMEOUT_SECONDS),
            field_manager=OPERATOR,
            trust_env=True,
        )

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        with _errors(f"{kind} {namespace}/{name}"):
            return _plain(await self._client.get(_KINDS[kind], name, namespace=namespace))

    async def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        try:
            return await self.get(kind, namespace, name)
        except Gone:
            return None

    async def list(
        self, kind: str, namespace: str, *, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        with _errors(f"{kind}s of {namespace}"):
            found = self._client.list(
                _KINDS[kind], namespace=namespace, labels=dict(labels or {}), chunk_size=_CHUNK
            )
            return [_plain(each) async for each in found]

    async def create(self, document: Object) -> Object:
        metadata = document["metadata"]
        with _errors(f"{document['kind']} {metadata['namespace']}/{metadata.get('name')}"):
            return _plain(
                await self._client.create(
                    _KINDS[document["kind"]](document), namespace=metadata["namespace"]
                )
            )

    async def apply(self, document: Object) -> Object:
        """Server-side apply as the one manager of the fields in `document`."""
        metadata = document["metadata"]
        with _errors(f"{document['kind']} {metadata['namespace']}/{metadata['name']}"):
            return _plain(
                await self._client.patch(
                    _KINDS[document["kind"]],
                    metadata["name"],
                    document,
                    namespace=metadata["namespace"],
                    patch_type=PatchType.APPLY,
                    field_manager=OPERATOR,
                    force=True,
                )
            )

    async def replace(self, document: Object) -> Object:
        """PUT; with a `resourceVersion` it raises `Conflict` when the object has moved on."""
        metadata = document["metadata"]
        with _errors(f"{document['kind']} {metadata['namespace']}/{metadata['name']}"):
            return _plain(
                await self._client.replace(
                    _KINDS[document["kind"]](document), namespace=metadata["namespace"]
                )
            )

    async def merge(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """JSON merge patch; a `resourceVersion` in it makes it conditional (`Conflict`)."""
        with _errors(f"{kind} {namespace}/{name}"):
            return _plain(
                await self._client.patch(
                    _KINDS[kind], name, patch, namespace=namespace, patch_type=PatchType.MERGE
                )
            )

    async def set_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        """JSON merge patch of the status, of which we are the only author."""
        with _errors(f"{kind} {namespace}/{name}"):
            return _plain(
                await self._client.patch(
                    _KINDS[kind].Status,
                    name,
                    {"status": status},
                    namespace=namespace,
                    patch_type=PatchType.MERGE,
                )
            )

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Ask for its removal; one that isn't there is fine."""
        try:
            with _errors(f"{kind} {namespace}/{name}"):
                await self._client.delete(_KINDS[kind], name, namespace=namespace)
        except Gone:
            return

    async def close(self) -> None:
        await self._client.close()


def _plain(found: Any) -> Object:
    return dict(found)


class _errors:
    """Turns lightkube's errors into ours; `what` names the object."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.HTTPStatusError):
            said = error.status.message if isinstance(error, ApiError) else error.response.text
            text = f"{self._what}: {said}"
            kinds = {404: Gone, 409: Conflict, 400: Denied, 403: Denied, 422: Denied}
            raise kinds.get(error.response.status_code, Retryable)(text) from error
        if isinstance(error, httpx2.HTTPError):
            raise Retryable(f"{self._what}: {error or type(error).__name__}") from error
