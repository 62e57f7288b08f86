"""The Secrets that the operator makes: credentials of NATS users, tokens, accounts.

Their content can't be computed again (a user's key is made by chance), so a Secret says by a digest
what it was made *for*, and is made anew only when that changes or when somebody changed what we
wrote. Entries that others put beside ours are theirs: no pod of ours reads them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from aristobot.contracts.kubernetes import DIGEST_ANNOTATION, GROUP
from aristobot_operator.builders.objects import labels, owner_reference
from aristobot_operator.cache import annotations_of
from aristobot_operator.kube import Object
from aristobot_operator.settings import OperatorSettings

#: Digest of what the operator wrote into it.
CONTENT_ANNOTATION = f"{GROUP}/content"


def secret(
    settings: OperatorSettings,
    namespace: str,
    name: str,
    data: Mapping[str, str],
    *,
    component: str,
    made_for: str,
    more_labels: Mapping[str, str] | None = None,
    owner: Object | None = None,
) -> Object:
    """`made_for`: digest of what decides the content. `owner`: the resource it goes with."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {**labels(settings, component), **(more_labels or {})},
        "annotations": {
            DIGEST_ANNOTATION: made_for,
            CONTENT_ANNOTATION: content_digest(
                {key: hashlib.sha256(value.encode()).hexdigest() for key, value in data.items()}
            ),
        },
    }
    if owner is not None:
        metadata["ownerReferences"] = [owner_reference(owner)]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def content_digest(digests: Mapping[str, str]) -> str:
    """Of a Secret's entries, given by their SHA-256."""
    text = "\n".join(f"{key} {digests[key]}" for key in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_as_made(found: Object | None, made_for: str, entries: Collection[str]) -> bool:
    """Whether a Secret's `entries`, as the cache holds it, are as the operator made them.

    And to the same end. Server-side apply takes out no entry of somebody else's, so one of those
    must not count: the Secret would be made anew for ever.
    """
    if found is None:
        return False
    annotations = annotations_of(found)
    return annotations.get(DIGEST_ANNOTATION) == made_for and annotations.get(
        CONTENT_ANNOTATION
    ) == content_digest(only(found["digests"], entries))


def only(digests: Mapping[str, str], entries: Collection[str]) -> dict[str, str]:
    """Of a Secret's entries those that are named."""
    return {name: digest for name, digest in digests.items() if name in entries}
