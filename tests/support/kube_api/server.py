"""The HTTP face of the store: paths, verbs, content types, queries, watches.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from aiohttp import web

from tests.support.kube_api import watching
from tests.support.kube_api.failures import Failure
from tests.support.kube_api.kinds import Kind, api_group
from tests.support.kube_api.selectors import fields_match, labels_match
from tests.support.kube_api.store import Store, Write
from tests.support.kube_api.watching import Watch

Object = dict[str, Any]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: What a query may say. Anything else is refused: it might mean something that is not done here.
_KNOWN_QUERY = {
    *("allowWatchBookmarks", "continue", "dryRun", "fieldManager", "fieldSelector"),
    *("fieldValidation", "force", "gracePeriodSeconds", "labelSelector", "limit", "pretty"),
    *("propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents"),
    *("timeoutSeconds", "watch"),
}
_WATCH_SECONDS = 1800.0
_BODY = web.RequestKey("body", object)


@dataclass(frozen=True)
class Request:
    """One that came in. `body` is what it said, decoded; `status` what it was answered."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int

    @property
    def watches(self) -> bool:
        return self.query.get("watch") in ("true", "1")


@dataclass
class Fault:
    """The next `left` requests that it concerns are answered `status` and nothing is done.

    `status` None: they are never answered.
    """

    left: int
    status: int | None
    method: str | None
    path: str


@dataclass
class Server:
    store: Store
    bookmark_every: float = 60.0
    history: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    silenced: set[Kind] = field(default_factory=set)
    watches: dict[Watch, web.Request] = field(default_factory=dict)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=4 * 2**20, middlewares=[self._answer])
        app.router.add_get("/version", self._version)
        app.router.add_get("/api", self._api)
        app.router.add_get("/apis", self._apis)
        app.router.add_get("/api/{version}", self._resources)
        app.router.add_get("/apis/{group}", self._group)
        app.router.add_get("/apis/{group}/{version}", self._resources)
        for root in ("/api/{version}", "/apis/{group}/{version}"):
            # A namespace is itself addressed as /api/v1/namespaces/NAME: that comes last.
            for scope in ("/namespaces/{namespace}", ""):
                for verb, handler in (
                    ("GET", self._list),
                    ("POST", self._create),
                    ("DELETE", self._delete_collection),
                ):
                    app.router.add_route(verb, f"{root}{scope}/{{plural}}", handler)
                for path in ("/{plural}/{name}", "/{plural}/{name}/{subresource:status}"):
                    for verb, handler in (
                        ("GET", self._get),
                        ("PUT", self._put),
                        ("PATCH", self._patch),
                        ("DELETE", self._delete),
                    ):
                        app.router.add_route(verb, f"{root}{scope}{path}", handler)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        request[_BODY] = body = _decoded(await request.read())
        query = dict(request.query)

        def note(status: int) -> None:
            self.history.append(Request(request.method, request.path, query, body, status))

        try:
            await self._fail_if_told(request)
            if unknown := query.keys() - _KNOWN_QUERY:
                raise Failure(400, f"this double does not know the query's {sorted(unknown)}")
            if request.query.get("watch") in ("true", "1"):
                note(200)
                return await handler(request)
            response = await handler(request)
        except Failure as failure:
            response = _json(failure.body, status=failure.code)
            if failure.code in (429, 503):
                response.headers["Retry-After"] = "1"
        except web.HTTPException as error:
            text = f"the server could not find the requested resource: {request.path}"
            response = _json(Failure(error.status, text).body, status=error.status)
        note(response.status)
        return response

    async def _fail_if_told(self, request: web.Request) -> None:
        for fault in self.faults:
            if fault.left and fault.method in (None, request.method) and fault.path in request.path:
                fault.left -= 1
                if fault.status is None:
                    await asyncio.Event().wait()  # the client gives up
                    return
                raise Failure(fault.status, "a test wants this request to fail")

    # Discovery

    async def _version(self, _: web.Request) -> web.Response:
        return _json({"major": "1", "minor": "35", "gitVersion": "v1.35.0-double"})

    async def _api(self, _: web.Request) -> web.Response:
        return _json({"kind": "APIVersions", "versions": ["v1"]})

    async def _apis(self, _: web.Request) -> web.Response:
        names = dict.fromkeys(kind.group for kind in self.store.kinds if kind.group)
        groups = [self._group_document(name) for name in names]
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _group(self, request: web.Request) -> web.Response:
        document = self._group_document(request.match_info["group"])
        return _json({"kind": "APIGroup", "apiVersion": "v1", **document})

    def _group_document(self, name: str) -> Object:
        versions = [kind.version for kind in self.store.kinds if kind.group == name]
        if not versions:
            raise Failure(404, f"no group {name}")
        return api_group(name, versions)

    async def _resources(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        kinds = [k for k in self.store.kinds if (k.group, k.version) == (group, version)]
        if not kinds:
            raise Failure(404, f"no version {group}/{version}")
        document = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": kinds[0].api_version,
            "resources": [entry for kind in kinds for entry in kind.discovered()],
        }
        return _json(document)

    # Objects

    def _kind(self, request: web.Request) -> Kind:
        info = request.match_info
        wanted = (info.get("group", ""), info["version"], info["plural"])
        for kind in self.store.kinds:
            if (kind.group, kind.version, kind.plural) == wanted:
                break
        else:
            raise Failure(404, f"the server could not find the requested resource {wanted}")
        if "subresource" in info and not kind.status:
            raise Failure(404, f"{kind.resource} has no subresource {info['subresource']}")
        if not kind.namespaced and "namespace" in info:
            raise Failure(404, f"{kind.resource} are not in namespaces")
        if (
            kind.namespaced
            and "namespace" not in info
            and ("name" in info or request.method == "POST")
        ):
            raise Failure(404, f"{kind.resource} are in namespaces, and the path names none")
        return kind

    async def _get(self, request: web.Request) -> web.StreamResponse:
        kind = self._kind(request)
        return _json(self.store.get(kind, *_key(request)))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        kind = self._kind(request)
        namespace = request.match_info.get("namespace", "")
        labels = labels_match(request.query.get("labelSelector", ""))
        by_field = fields_match(request.query.get("fieldSelector", ""), kind.known_fields)

        def matches(obj: Object) -> bool:
            return labels(obj) and by_field(obj)

        if request.query.get("watch") in ("true", "1"):
            bookmarks = request.query.get("allowWatchBookmarks") in ("true", "1")
            watch = Watch(self.store, kind, namespace, matches, bookmarks)
            return await self._watch(request, watch)
        if _version(request, code=400) > self.store.version:
            text = f"Too large resource version: {request.query['resourceVersion']}"
            raise Failure(504, f"Timeout: {text}, current: {self.store.version}")
        items = [obj for obj in self.store.list(kind, namespace) if matches(obj)]
        metadata = {"resourceVersion": str(self.store.version)}
        name = f"{kind.kind}List"
        document = {
            "kind": name, "apiVersion": kind.api_version, "metadata": metadata, "items": items
        }  # fmt: skip
        return _json(document)

    async def _watch(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        since = _version(request, code=500)
        initial = request.query.get("sendInitialEvents") == "true"
        if initial and request.query.get("resourceVersionMatch") != "NotOlderThan":
            raise Failure(422, "sendInitialEvents needs resourceVersionMatch=NotOlderThan")
        timeout = float(request.query.get("timeoutSeconds", _WATCH_SECONDS))
        watch.silent = watch.kind in self.silenced
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self.watches[watch] = request
        try:
            if initial or not since:
                first = watch.initial()
                if initial:
                    first.append(watch.bookmark(ends_initial=True))
                if not watch.silent:
                    await response.write(b"".join(map(watching.line, first)))
            else:
                watch.seen = since
            events = watch.events(timeout=timeout, bookmark_every=self.bookmark_every)
            async for event in events:
                await response.write(watching.line(event))
        except ConnectionResetError:
            pass  # The client has gone, or a test has cut the line.
        finally:
            del self.watches[watch]
        return response

    async def _create(self, request: web.Request) -> web.StreamResponse:
        kind = self._kind(request)
        namespace = request.match_info.get("namespace", "")
        made = self.store.create(kind, namespace, _body(request, dict), _write(request))
        return _json(made, status=201)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        kind = self._kind(request)
        obj = _body(request, dict)
        found, created = self.store.replace(kind, *_key(request), obj, _write(request))
        return _json(found, status=201 if created else 200)

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        kind, key, write = self._kind(request), _key(request), _write(request)
        match request.content_type:
            case "application/merge-patch+json":
                found = self.store.merge_patch(kind, *key, _body(request, dict), write)
            case "application/json-patch+json":
                found = self.store.json_patch(kind, *key, _body(request, list), write)
            case "application/apply-patch+yaml":
                if "fieldManager" not in request.query:
                    raise Failure(422, "fieldManager: Required value: is required for apply patch")
                force = request.query.get("force") in ("true", "1")
                config = _body(request, dict)
                found, created = self.store.apply(kind, *key, config, write, force=force)
                return _json(found, status=201 if created else 200)
            case other:
                raise Failure(415, f"this double does not do {other}")
        return _json(found)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        kind, key = self._kind(request), _key(request)
        options = self._delete_options(request)
        obj, gone = self.store.delete(kind, *key, options, dry_run=_write(request).dry_run)
        if not gone:
            return _json(obj)
        details = {"name": key[1], "kind": kind.plural, "uid": obj["metadata"]["uid"]}
        if kind.group:
            details["group"] = kind.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return _json({**status, "details": details})

    async def _delete_collection(self, request: web.Request) -> web.StreamResponse:
        kind = self._kind(request)
        labels = labels_match(request.query.get("labelSelector", ""))
        by_field = fields_match(request.query.get("fieldSelector", ""), kind.known_fields)
        found = self.store.list(kind, request.match_info.get("namespace", ""))
        items = [obj for obj in found if labels(obj) and by_field(obj)]
        for obj in items:
            key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            options = self._delete_options(request)
            self.store.delete(kind, *key, options, dry_run=_write(request).dry_run)
        document = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "items": items}
        return _json({**document, "metadata": {}})

    def _delete_options(self, request: web.Request) -> Object:
        options = dict(_body(request, dict)) if request.body_exists else {}
        if "propagationPolicy" in request.query:
            options["propagationPolicy"] = request.query["propagationPolicy"]
        return options


def _json(body: Object, *, status: int = 200) -> web.Response:
    # Without a charset, as the real server: lightkube knows a Status by exactly this type.
    headers = {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info.get("namespace", ""), request.match_info["name"]


def _version(request: web.Request, *, code: int) -> int:
    """The resource version that is asked for; 0 for any. Raises Failure (`code`)."""
    text = request.query.get("resourceVersion") or "0"
    if not text.isdecimal():
        raise Failure(code, f"resourceVersion: Invalid value: {text!r}: invalid syntax")
    return int(text)


def _write(request: web.Request) -> Write:
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    manager = request.query.get("fieldManager", agent)
    subresource = request.match_info.get("subresource", "")
    return Write(manager, subresource, dry_run=request.query.get("dryRun") == "All")


def _decoded(raw: bytes) -> Any:
    """JSON or YAML; None for what is neither, which `_body` refuses."""
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError:
        return None


def _body(request: web.Request, wanted: type) -> Any:
    body = request.get(_BODY)
    if not isinstance(body, wanted):
        raise Failure(400, f"the body is not a {wanted.__name__}")
    return body
