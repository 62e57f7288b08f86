"""What the API server demands beyond schemas: of all metadata, and of single built-in kinds.

Only the rules that an operator's author breaks by mistake; the rest of Kubernetes' validation is
not here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.kube_api.defaults import fill_deployment
from tests.support.kube_api.failures import Failure, invalid
from tests.support.kube_api.kinds import Kind

Object = dict[str, Any]

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_KEY = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")


def settle(kind: Kind, obj: Object) -> None:
    """What is rewritten before it is stored, and filled in where it was left out."""
    if kind.resource == "secrets":
        plain = obj.pop("stringData", None) or {}
        if plain:
            obj["data"] = (obj.get("data") or {}) | {
                key: base64.b64encode(value.encode()).decode() for key, value in plain.items()
            }
        obj.setdefault("type", "Opaque")
    elif kind.resource == "deployments.apps":
        fill_deployment(obj)


def check_metadata(kind: Kind, obj: Object, old: Object | None) -> None:
    """Raises Failure (422)."""
    if wrong := list(_metadata(obj["metadata"], old["metadata"] if old else None)):
        raise invalid(kind.qualified, obj["metadata"]["name"], wrong)


def _metadata(new: Object, old: Object | None) -> Iterator[tuple[str, str]]:
    name, labels, annotations = new["name"], new.get("labels", {}), new.get("annotations", {})
    if not _NAME.match(name) or len(name) > 253:
        yield "metadata.name", f"Invalid value: {name!r}: a lowercase RFC 1123 subdomain is needed"
    for value in labels.values():
        if not _LABEL_VALUE.match(value) or len(value) > 63:
            cause = f"Invalid value: {value!r}: at most 63 of letters, digits, '-', '_' and '.'"
            yield "metadata.labels", cause
    for place, keys in (("labels", labels), ("annotations", annotations)):
        for key in keys:
            prefix, slash, bare = key.rpartition("/")
            if not _KEY.match(bare) or len(bare) > 63 or (slash and not _NAME.match(prefix)):
                yield f"metadata.{place}", f"Invalid value: {key!r}: not a qualified name"
    if sum(len(key) + len(value) for key, value in annotations.items()) > 256 * 1024:
        yield "metadata.annotations", "Too long: may not be more than 262144 bytes"
    if sum(bool(ref.get("controller")) for ref in new.get("ownerReferences", ())) > 1:
        cause = "Invalid value: Only one reference can have Controller set to true"
        yield "metadata.ownerReferences", cause
    if old and "deletionTimestamp" in old:
        for added in set(new.get("finalizers", ())) - set(old.get("finalizers", ())):
            cause = "Forbidden: no new finalizers can be added if the object is being deleted"
            yield "metadata.finalizers", f"{cause}, found new finalizers {added!r}"


def check_built_in(kind: Kind, obj: Object, old: Object | None) -> None:
    """Raises Failure (400 or 422)."""
    check = _CHECKS.get(kind.resource)
    if check is not None and (wrong := list(check(obj, old))):
        raise invalid(kind.qualified, obj["metadata"]["name"], wrong)


def _secret(obj: Object, old: Object | None) -> Iterator[tuple[str, str]]:
    for key, value in (obj.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            text = f"Secret cannot be handled as a Secret: data[{key!r}]: illegal base64 data"
            raise Failure(400, text) from None
    if old and old.get("immutable") and old.get("data") != obj.get("data"):
        yield "data", "Forbidden: field is immutable when `immutable` is set"
    if old and old["type"] != obj["type"]:
        yield "type", f"Invalid value: {obj['type']!r}: field is immutable"


def _config_map(obj: Object, _: Object | None) -> Iterator[tuple[str, str]]:
    for key in obj.get("data") or {}:
        if not _DATA_KEY.match(key):
            yield f"data[{key}]", "Invalid value: letters, digits, '-', '_' and '.' only"


def _deployment(obj: Object, old: Object | None) -> Iterator[tuple[str, str]]:
    spec = obj["spec"]
    labels = spec["template"].get("metadata", {}).get("labels") or {}
    if not (spec["selector"].get("matchLabels") or {}).items() <= labels.items():
        cause = f"Invalid value: {labels}: `selector` does not match template `labels`"
        yield "spec.template.metadata.labels", cause
    if old and spec["selector"] != old["spec"]["selector"]:
        yield "spec.selector", f"Invalid value: {spec['selector']}: field is immutable"
    if not spec["template"].get("spec", {}).get("containers"):
        yield "spec.template.spec.containers", "Required value"


def _lease(obj: Object, _: Object | None) -> Iterator[tuple[str, str]]:
    if (obj.get("spec") or {}).get("leaseDurationSeconds", 1) <= 0:
        yield "spec.leaseDurationSeconds", "Invalid value: must be greater than 0"


def _event(obj: Object, old: Object | None) -> Iterator[tuple[str, str]]:
    """Of the events.k8s.io group."""
    if old is not None:
        for name in (obj.keys() | old.keys()) - {"metadata", "series"}:
            if obj.get(name) != old.get(name):
                yield name, "Invalid value: field is immutable"
        return
    for name in ("action", "eventTime", "reason", "reportingController", "reportingInstance"):
        if not obj.get(name):
            yield name, "Required value"
    if obj.get("type") not in ("Normal", "Warning"):
        yield "type", f"Invalid value: {obj.get('type')!r}"
    if len(obj.get("note") or "") > 1024:
        yield "note", "Invalid value: can have at most 1024 characters"
    if not obj.get("regarding", {}).get("namespace"):
        yield "involvedObject.namespace", "Invalid value: does not match event.namespace"


_CHECKS: Mapping[str, Callable[[Object, Object | None], Iterator[tuple[str, str]]]] = {
    "configmaps": _config_map,
    "deployments.apps": _deployment,
    "events.events.k8s.io": _event,
    "leases.coordination.k8s.io": _lease,
    "secrets": _secret,
}
