"""The NATS users of pods: signs a role into a Secret, once, and again when the role changes.

Children are rolled then; the platform's own pods follow their file by themselves (`Bus.lost`).
The signing keys come from the Secret `RELEASE-nats-trust`, which `acting.bootstrap` makes the first
time. Deliberately not here: what a role may do (`contracts.nats_roles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from aristobot.contracts.kubernetes import CREDENTIALS_KEY
from aristobot.contracts.nats_roles import NatsRole
from aristobot.platform.nats_auth import Trust, account_key, issue_role
from aristobot_operator.builders.objects import digest_of
from aristobot_operator.builders.secrets import is_as_made, only, secret
from aristobot_operator.cache import Cache, owners_of
from aristobot_operator.kube import Kube, Object
from aristobot_operator.settings import OperatorSettings


class Credentials:
    def __init__(self, settings: OperatorSettings, kube: Kube, cache: Cache, trust: Trust) -> None:
        self._settings = settings
        self._kube = kube
        self._cache = cache
        self._trust = trust

    def issue(self, role: NatsRole) -> str:
        """The text of a credentials file for a new user of the role."""
        return issue_role(self._trust, role)

    async def ensure(
        self,
        namespace: str,
        name: str,
        role: NatsRole,
        *,
        component: str,
        more: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        owner: Object | None = None,
    ) -> str:
        """Make the Secret `name` with credentials of the role, and `more` entries.

        One that isn't ours is overwritten: ask `children.whose` first where names are the user's
        to choose. Returns a digest of what was written, for the pods that read it.
        """
        made_for = digest_of([asdict(role), account_key(self._trust), dict(more or {})])
        entries = {CREDENTIALS_KEY, *(more or {})}
        found = self._cache.get("Secret", namespace, name)
        owners = {owner["metadata"]["uid"]} if owner is not None else set()
        if (
            found is None
            or not owners <= owners_of(found)
            or not is_as_made(found, made_for, entries)
        ):
            document = secret(
                self._settings,
                namespace,
                name,
                {CREDENTIALS_KEY: self.issue(role), **(more or {})},
                component=component,
                made_for=made_for,
                more_labels=labels,
                owner=owner,
            )
            self._cache.put("Secret", await self._kube.apply(document))
            found = self._cache.get("Secret", namespace, name)
        assert found is not None
        return digest_of(only(found["digests"], entries))
