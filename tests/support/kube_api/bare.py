"""Bare HTTP to an API server, and objects to send: what the conformance checks are written with.

No client library stands between, so that the server's own status and body are seen.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

Object = dict[str, Any]

MERGE, JSON, APPLY = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
_SECONDS = aiohttp.ClientTimeout(total=20)


@dataclass
class ApiClient:
    """Bare HTTP to an API server, in one namespace."""

    session: aiohttp.ClientSession
    url: str
    namespace: str

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """`plural` with its API group and version: `apps/v1/deployments`, `v1/secrets`."""
        root, _, bare = plural.rpartition("/")
        prefix = "api" if "/" not in root else "apis"
        parts = (prefix, root, "namespaces", self.namespace, bare, name, subresource)
        return "/" + "/".join(filter(None, parts))

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        **query: str,
    ) -> tuple[int, Object]:
        data = body if isinstance(body, str | None) else json.dumps(body)
        async with self.session.request(
            method,
            self.url + path,
            data=data,
            params=query,
            headers={"Content-Type": content},
            timeout=_SECONDS,
        ) as response:
            return response.status, await response.json()

    async def did(
        self, method: str, path: str, body: Any = None, *more: str, **query: str
    ) -> Object:
        """`ask`, for what has to succeed."""
        status, found = await self.ask(method, path, body, *more, **query)
        assert status in (200, 201), found
        return found

    async def apply(
        self, plural: str, obj: Object, manager: str, *, force: bool = False, status: bool = False
    ) -> tuple[int, Object]:
        path = self.path(plural, obj["metadata"]["name"], "status" if status else "")
        query = {"fieldManager": manager, "force": str(force).lower()}
        return await self.ask("PATCH", path, obj, APPLY, **query)

    @asynccontextmanager
    async def watch(self, plural: str, **query: str) -> AsyncIterator[AsyncIterator[Object]]:
        path = self.path(plural)
        async with self.session.get(
            self.url + path, params={"watch": "true", **query}, timeout=_SECONDS
        ) as response:
            assert response.status == 200, await response.text()

            async def events() -> AsyncIterator[Object]:
                async for line in response.content:
                    yield json.loads(line)

            yield events()


@asynccontextmanager
async def connected(kubeconfig: Mapping[str, Any], namespace: str) -> AsyncIterator[ApiClient]:
    """A client for the current context, by client certificate (data, not files) or by nothing."""
    contexts = {entry["name"]: entry["context"] for entry in kubeconfig["contexts"]}
    context = contexts[kubeconfig["current-context"]]
    clusters = {entry["name"]: entry["cluster"] for entry in kubeconfig["clusters"]}
    users = {entry["name"]: entry.get("user") or {} for entry in kubeconfig["users"]}
    cluster, user = clusters[context["cluster"]], users[context["user"]]
    connector = None
    if "certificate-authority-data" in cluster:
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        trust = ssl.create_default_context(cadata=authority)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "client.pem"
            file.write_bytes(
                base64.b64decode(user["client-certificate-data"])
                + base64.b64decode(user["client-key-data"])
            )
            trust.load_cert_chain(file)
        connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(
        connector=connector, headers={"User-Agent": "conformance/1"}
    ) as session:
        yield ApiClient(session, cluster["server"], namespace)


CONFIG_MAPS, SECRETS, DEPLOYMENTS = "v1/configmaps", "v1/secrets", "apps/v1/deployments"
LEASES, BROKERS = "coordination.k8s.io/v1/leases", "trading.aristobot.io/v1alpha1/brokers"


def config_map(name: str, data: Object | None = None, **metadata: Any) -> Object:
    found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return found if data is None else {**found, "data": data}


def broker(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": name},
        "spec": {"exchange": "binance", "environment": "simulator", **spec},
    }


def deployment(name: str, **environment: str) -> Object:
    labels = {"app": name}
    container = {
        "name": "main",
        "image": "example.invalid/nothing",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
