"""Metadata that every object of ours carries, and the reference to the resource it is made for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from aristobot.contracts.kubernetes import (
    APP,
    COMPONENT_LABEL,
    DIGEST_ANNOTATION,
    INSTANCE_LABEL,
    MANAGED_BY_LABEL,
    NAME_LABEL,
    OPERATOR,
    PART_OF_LABEL,
)
from aristobot_operator.cache import name_of
from aristobot_operator.kube import Object
from aristobot_operator.settings import OperatorSettings


def labels(settings: OperatorSettings, component: str) -> dict[str, str]:
    return {
        NAME_LABEL: APP,
        INSTANCE_LABEL: settings.instance,
        COMPONENT_LABEL: component,
        MANAGED_BY_LABEL: OPERATOR,
        PART_OF_LABEL: APP,
    }


def owner_reference(owner: Object) -> dict[str, Any]:
    """Of the resource that a child is made for: the child goes when it goes.

    A Broker that is deleted in the foreground doesn't wait for its children: while strategies wind
    down it needs its gateway, which is made anew then, and Kubernetes would delete it each time.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": owner["kind"] != "Broker",
    }


def with_digest(document: Object) -> Object:
    """The document with an annotation of its own digest, by which a change of plan is seen."""
    digest = digest_of(document)
    metadata = document["metadata"]
    annotations = {**metadata.get("annotations", {}), DIGEST_ANNOTATION: digest}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def digest_of(value: Any) -> str:
    """SHA-256, shortened to 32 hex digits, of anything JSON can say."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
