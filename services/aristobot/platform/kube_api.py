"""The Kubernetes API as the command line needs it: a few verbs on JSON, errors as plain sentences.

lightkube brings the kubeconfig's TLS and credentials (certificates, tokens, exec plugins). Its own
client can't ask for strict field validation, as kubectl does: without it an API server with older
CRDs drops a field it doesn't know and answers 200, and the user believes in a protection that is
not there. So the requests are made here, on the HTTP client that lightkube configures. What the
API server says about a refused object reaches the user word for word, since the CRDs' rules are
written for them. Deliberately not here: what a resource means (`kubernetes_store`), watching.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.core.exceptions import ConfigError

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.platform.kubeconfig import ClusterAccess

#: What `managedFields` shows as the author of our changes.
FIELD_MANAGER = "aristobot-cli"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

_TIMEOUT_SECONDS = 15.0
_PAGE = 500


class Missing(Misconfigured):
    """There is no such object (404)."""


class Conflicting(Retryable):
    """The object is there already, or was changed since it was read (409)."""


class KubeApi:
    """Requests to one cluster. Every call may raise `Misconfigured` and `Retryable`."""

    def __init__(self, client: httpx2.AsyncClient, access: ClusterAccess) -> None:
        self._client = client
        self._access = access

    async def get(self, path: str) -> dict[str, Any]:
        """Raises `Missing`."""
        return await self._call("GET", path)

    async def list(self, path: str) -> list[dict[str, Any]]:
        """All objects of a collection, page by page."""
        found: list[dict[str, Any]] = []
        following = ""
        while True:
            page = {"limit": str(_PAGE), **({"continue": following} if following else {})}
            answer = await self._call("GET", path, params=page)
            found += answer.get("items") or ()
            following = (answer.get("metadata") or {}).get("continue") or ""
            if not following:
                return found

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises `Conflicting` when the object is there already."""
        return await self._call("POST", path, body, "application/json")

    async def patch(
        self, path: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]], content_type: str
    ) -> dict[str, Any]:
        """Raises `Missing`, and `Conflicting` when `body` names another resourceVersion."""
        return await self._call("PATCH", path, body, content_type)

    async def delete(self, path: str) -> dict[str, Any]:
        """What depends on the object goes after it. Raises `Missing`."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        return await self._call("DELETE", path, body, "application/json")

    async def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        query = dict(params or {})
        headers = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if method in ("POST", "PATCH"):
            query |= {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        content = None if body is None else json.dumps(body).encode()
        where = f"the Kubernetes API at {self._access.server}"
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                answer = await self._client.request(
                    method, path, params=query, headers=headers, content=content
                )
        except ConfigError as error:
            raise Misconfigured(f"context {self._access.context}: {error}") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise Misconfigured(
                f"context {self._access.context}: the server's address is wrong: {error}"
            ) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if _is_about_certificates(error):
                raise Misconfigured(f"{where} can't be trusted: {error}") from error
            why = str(error) or type(error).__name__
            raise Retryable(
                f"{where} doesn't answer: {why}; is the cluster up, and is "
                f"{self._access.context} the context that you mean?"
            ) from error
        except (TimeoutError, httpx2.TransportError) as error:
            unknown = "; whether the change was made is not known: look with `aristobot --kube get`"
            raise Retryable(
                f"{where} gave no whole answer: {str(error) or type(error).__name__}"
                + ("" if method == "GET" else unknown)
            ) from error
        except (OSError, LookupError, TypeError, ValueError) as error:
            # lightkube runs the kubeconfig's login plugin and reads a token from what it prints.
            raise Misconfigured(
                f"context {self._access.context}: its login plugin gave no token "
                f"({type(error).__name__}: {error})"
            ) from error
        return self._read(answer)

    def _read(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            content = answer.json()
        except ValueError:
            content = {}
        status: dict[str, Any] = content if isinstance(content, dict) else {}
        if answer.is_success:
            return status
        raise error_of(answer.status_code, status, answer.text, self._access.context)


@asynccontextmanager
async def connect(access: ClusterAccess) -> AsyncIterator[KubeApi]:
    """Nothing is sent before the first call. Raises `Misconfigured` for unusable credentials."""
    parameters = ConnectionParams(timeout=httpx2.Timeout(_TIMEOUT_SECONDS), proxy=access.proxy)
    try:
        client = AsyncClient(access.config, parameters)
    except (ConfigError, OSError, ValueError) as error:
        raise Misconfigured(
            f"context {access.context}: the credentials in the kubeconfig can't be used: {error}"
        ) from error
    async with client:
        yield KubeApi(client, access)


def error_of(
    code: int, status: Mapping[str, Any], text: str, context: str
) -> Misconfigured | Retryable:
    """The error for an answer that is none of success, from its `Status` object if it has one.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    """
    said = status.get("message") or " ".join(text.split())[:300] or f"HTTP {code}"
    details = status.get("details") or {}
    if code == 404:
        if not details.get("name"):
            return Misconfigured(
                f"the cluster of context {context} doesn't know Aristobot's resources: install "
                "the chart aristobot-crds, or name another cluster with --context"
            )
        if details.get("kind") == "namespaces":
            name = details["name"]
            return Misconfigured(
                f"there is no namespace {name}: `kubectl create namespace {name}`, or name another "
                "with -n"
            )
        return Missing(said)
    if code == 401:
        return Misconfigured(
            f"the cluster of context {context} doesn't accept your credentials: log in again, as "
            "you would for kubectl"
        )
    if code == 409:
        return Conflicting(said)
    if code == 429 or code >= 500:
        return Retryable(f"the Kubernetes API answered {code}: {said}")
    return Misconfigured(said)


def _is_about_certificates(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
