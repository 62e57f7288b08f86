"""The desired state: a port for applying, reading and changing resources; two adapters keep it.

The CLI and (later) the API talk to `ResourceStore`: embedded, it is PostgreSQL (`postgres_store`),
on Kubernetes the custom resources themselves (`kubernetes_store`), so that `aristobot` and
`kubectl` see and change the same objects. Both keep the same promises, shown by one set of tests.
Not here: acting on a resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from aristobot.contracts.resources import (
    GROUP_VERSION,
    ActiveStrategy,
    Broker,
    Document,
    SecretDocument,
    Strategy,
    parse_document,
)
from aristobot.core.errors import Misconfigured, Retryable

#: The kinds that stand in the table `resources`; a Secret has a store of its own.
Typed = TypeVar("Typed", Broker, Strategy, ActiveStrategy)


class Applied(StrEnum):
    """What an apply did, in kubectl's words."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One resource as it stands. `generation` counts changes of the spec.

    `uid` is made with the resource: one that is deleted and applied again has another.
    `deletion_asked_at`: it is to go, as soon as what has to be done before that is done.
    """

    owner: str
    kind: str
    name: str
    uid: str
    spec: Mapping[str, Any]
    generation: int
    created_at: datetime
    status: Mapping[str, Any] = field(default_factory=dict)
    deletion_asked_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """As YAML would show it."""
        document: dict[str, Any] = {
            "apiVersion": GROUP_VERSION,
            "kind": self.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.owner,
                "uid": self.uid,
                "generation": self.generation,
                "creationTimestamp": self.created_at.isoformat(timespec="seconds"),
            },
            "spec": dict(self.spec),
        }
        if self.deletion_asked_at is not None:
            asked_at = self.deletion_asked_at.isoformat(timespec="seconds")
            document["metadata"]["deletionTimestamp"] = asked_at
        if self.status:
            document["status"] = dict(self.status)
        return document

    def parse(self, model: type[Typed]) -> Typed:
        """The typed resource. Raises `Misconfigured` if it isn't valid, or of another kind."""
        document = parse_document(self.document())
        if not isinstance(document, model):
            raise Misconfigured(f"{self.kind} {self.name} is not of kind {model.__name__}")
        return document


class ChangedMeanwhile(Retryable):
    """The resource is no longer what the change was meant for; nothing was changed."""


class ResourceStore(Protocol):
    """Where the desired state lives.

    Every call may raise `Retryable`, and `Misconfigured` when the store refuses it for good.
    """

    async def apply(self, owner: str, document: Document) -> Applied:
        """Create the resource, or make its spec what the document says, whoever set it before.

        Raises `Retryable` while it is being deleted.
        """

    async def change(self, seen: StoredResource, changes: Mapping[str, Any]) -> None:
        """Change those fields of the spec (names and values as in YAML; None removes one).

        Raises `ChangedMeanwhile` when the spec is no longer the one that was seen.
        """

    async def list(self, owner: str, kind: str) -> Sequence[StoredResource]:
        """All resources of a kind, by name; `EVERY_OWNER` lists everybody's."""

    async def get(self, owner: str, kind: str, name: str) -> StoredResource | None:
        """One resource as it stands now; None when there is none."""

    async def secret_names(self, owner: str) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Names of the secrets and of their entries; never a value."""

    async def delete(self, owner: str, kind: str, name: str) -> bool:
        """Remove one resource or secret; False when there was none.

        It may stay for a while, with its `deletion_asked_at`, until its end is prepared.
        """

    async def set_status(self, owner: str, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Write what was observed. Doesn't count as a change of the desired state."""


def spec_of(document: Broker | Strategy | ActiveStrategy) -> dict[str, Any]:
    """The spec as it is stored: JSON, without what only repeats a default."""
    return document.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def changed_spec(seen: StoredResource, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with those changes. Raises `Misconfigured` when it is no longer valid."""
    return spec_of(_changed(seen, changes))


def changed_fields(seen: StoredResource, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes, each value as `spec_of` would write it. Raises `Misconfigured` likewise."""
    spec = _changed(seen, changes).spec.model_dump(mode="json", by_alias=True)
    return {key: spec.get(key) for key in changes}


def _changed(
    seen: StoredResource, changes: Mapping[str, Any]
) -> Broker | Strategy | ActiveStrategy:
    spec = {key: value for key, value in {**seen.spec, **changes}.items() if value is not None}
    document = parse_document({**seen.document(), "spec": spec})
    assert not isinstance(document, SecretDocument)
    return document


def changed_meanwhile(seen: StoredResource) -> ChangedMeanwhile:
    """The error of a change that came too late."""
    return ChangedMeanwhile(
        f"{seen.kind} {seen.name} was changed by somebody else meanwhile, and nothing was changed "
        "here: look at it and try again"
    )


def number_taken(number: int, broker: str) -> Misconfigured:
    """The error of a broker whose number another broker of its owner has."""
    return Misconfigured(f"spec.number: {number} is already the number of broker {broker}")
