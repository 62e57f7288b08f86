"""What the API server does to, and demands of, single built-in kinds.

Only the rules that an operator's author breaks by mistake; the rest of Kubernetes' validation is
not here.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from tests.support.kube_api.failures import Failure, invalid
from tests.support.kube_api.kinds import Kind

Object = dict[str, Any]


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
        obj.setdefault("spec", {}).setdefault("replicas", 1)


def check_built_in(kind: Kind, obj: Object, old: Object | None) -> None:
    """Raises Failure (422)."""
    wrong: list[tuple[str, str]] = []
    if kind.resource == "secrets":
        for key, value in (obj.get("data") or {}).items():
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise Failure(400, f"Secret: data[{key!r}] is not base64") from None
        if old and old["type"] != obj["type"]:
            wrong.append(("type", "Invalid value: field is immutable"))
    elif kind.resource == "deployments.apps":
        spec = obj.get("spec") or {}
        selector = spec.get("selector")
        labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
        if not selector:
            wrong.append(("spec.selector", "Required value"))
        elif not (selector.get("matchLabels") or {}).items() <= labels.items():
            cause = f"Invalid value: {labels}: `selector` does not match template `labels`"
            wrong.append(("spec.template.metadata.labels", cause))
        if old and selector != old["spec"].get("selector"):
            wrong.append(("spec.selector", "Invalid value: field is immutable"))
        if not spec.get("template", {}).get("spec", {}).get("containers"):
            wrong.append(("spec.template.spec.containers", "Required value"))
    elif kind.resource == "events.events.k8s.io" and old is None:
        wrong += [
            (name, "Required value")
            for name in (
                "action",
                "eventTime",
                "reason",
                "reportingController",
                "reportingInstance",
            )
            if not obj.get(name)
        ]
        if obj.get("type") not in ("Normal", "Warning"):
            wrong.append(("type", f"Invalid value: {obj.get('type')!r}"))
        if len(obj.get("note") or "") > 1024:
            wrong.append(("note", "can have at most 1024 characters"))
    if wrong:
        raise invalid(kind.kind, obj["metadata"]["name"], wrong)
