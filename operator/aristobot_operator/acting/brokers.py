"""One pass over a Broker: status first, then its Secrets, its gateway, its finalizer."""

from __future__ import annotations

import base64
import logging
import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass, field

from aristobot.contracts.kubernetes import (
    BROKER_LABEL,
    DATABASE_URL_KEY,
    IN_USE_FINALIZER,
    gateway_name,
)
from aristobot.contracts.nats_roles import gateway as gateway_role
from aristobot.contracts.resources import Broker, Environment
from aristobot.contracts.workload import OWNER_WEBHOOK_SECRET, credentials_secret, webhook_secret
from aristobot_operator.acting.children import Children, Step
from aristobot_operator.acting.credentials import Credentials
from aristobot_operator.acting.events import Events
from aristobot_operator.acting.finalizers import set_finalizer
from aristobot_operator.acting.simulator import AGAIN_SECONDS, SimulatedAccounts
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.builders.deployments import gateway_deployment
from aristobot_operator.builders.objects import digest_of
from aristobot_operator.builders.secrets import secret
from aristobot_operator.cache import Cache, is_deleting, name_of, namespace_of
from aristobot_operator.conditions import State, bad
from aristobot_operator.kube import Conflict, Kube, Object
from aristobot_operator.plans import broker as plans
from aristobot_operator.plans.active_strategy import is_left_alone
from aristobot_operator.plans.directory import TOKEN_ENTRY
from aristobot_operator.plans.seen import Problem, parsed
from aristobot_operator.reasons import Condition, EventReason, Reason
from aristobot_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Brokers:
    """Carries out the plans of brokers."""

    settings: OperatorSettings
    kube: Kube
    cache: Cache
    status: StatusWriter
    events: Events
    children: Children
    credentials: Credentials
    accounts: SimulatedAccounts
    #: The database's URL, by the digest under which the cache knows it.
    _urls: dict[str, str] = field(default_factory=dict, repr=False)

    async def reconcile(self, found: Object) -> float | None:
        """One pass. Returns the seconds after which to look again, None when only changes count.

        Raises `Retryable`, `Conflict` or `Gone`.
        """
        if is_left_alone(found):
            text = "left alone, as its annotation reconcile: disabled says"
            state = State(Condition.PAUSED, "True", Reason.RECONCILE_DISABLED, text)
            await self._write(found, (*plans.plan_broker(self.cache, found, None).states, state))
            return None
        broker = parsed(self.cache, found, Broker)
        simulator = None
        if isinstance(broker, Broker):
            simulator = await self.accounts.ensure(found, broker)
        plan = plans.plan_broker(self.cache, found, simulator)
        await self._write(found, plan.states)
        users = plans.users_that_wind_down(self.cache, namespace_of(found), name_of(found))
        await set_finalizer(self.kube, self.cache, found, IN_USE_FINALIZER, wanted=bool(users))
        if plan.broker is None or (is_deleting(found) and not users):
            return None
        await self._token(found, webhook_secret(name_of(found)), owner=found)
        await self._token(found, OWNER_WEBHOOK_SECRET, owner=None)
        again = AGAIN_SECONDS if plan.broker.spec.environment is Environment.SIMULATOR else None
        if not plan.may_run:
            return again or _WAIT_SECONDS if simulator is not None else again
        blocked = await self._gateway(found, plan.broker)
        if blocked is not None:
            await self._write(found, _with(plan.states, blocked))
            return _WAIT_SECONDS
        return again

    async def _write(self, found: Object, states: Sequence[State]) -> None:
        summary = plans.ready(states)
        if is_deleting(found):
            users = plans.users_that_wind_down(self.cache, namespace_of(found), name_of(found))
            text = f"it goes when these have wound down: {', '.join(users)}"
            summary = bad(Condition.READY, Reason.IN_USE, text)
        everything = (summary, *states)
        await self.status.write(found, everything, plans.phase(everything))

    async def _token(self, found: Object, name: str, *, owner: Object | None) -> None:
        """A webhook token where there is none; one that a user made stays."""
        namespace = namespace_of(found)
        seen = self.cache.get("Secret", namespace, name)
        if seen is not None:
            return
        document = secret(
            self.settings,
            namespace,
            name,
            {TOKEN_ENTRY: random.token_urlsafe(32)},
            component="ingress",
            made_for="once",
            owner=owner,
        )
        try:
            made = await self.kube.create(document)
        except Conflict:
            made = await self.kube.get("Secret", namespace, name)
        self.cache.put("Secret", made)

    async def _gateway(self, found: Object, broker: Broker) -> State | None:
        """Its Secret and its Deployment; what keeps them from being made, or None."""
        namespace, name = namespace_of(found), name_of(found)
        url = await self._database_url()
        if isinstance(url, Problem):
            return bad(Condition.DEPLOYED, url.reason, url.text)
        own = await self.credentials.ensure(
            namespace,
            gateway_name(name),
            gateway_role(namespace, name),
            component="gateway",
            more={DATABASE_URL_KEY: url},
            labels={BROKER_LABEL: name},
            owner=found,
        )
        exchange = self.cache.get("Secret", namespace, credentials_secret(broker)) or {}
        secrets = digest_of([own, exchange.get("digests", {})])
        wanted = gateway_deployment(self.settings, found, broker, secrets)
        step = await self.children.ensure(wanted)
        if step is Step.REPAIR:
            text = f"Deployment {gateway_name(name)} was changed by somebody: put back"
            await self.events.write(found, "Normal", EventReason.DRIFT_REPAIRED, text)
        return blocked_state(step, gateway_name(name))

    async def _database_url(self) -> str | Problem:
        name, key = self.settings.database_secret.name, self.settings.database_secret.key
        seen = self.cache.get("Secret", self.settings.namespace, name)
        digest = (seen or {}).get("digests", {}).get(key)
        if digest is None:
            return Problem(
                Reason.PLATFORM_NOT_READY,
                f"Secret {name} of namespace {self.settings.namespace} has no entry {key} with "
                "the database's URL",
            )
        if digest not in self._urls:
            data = (await self.kube.get("Secret", self.settings.namespace, name))["data"]
            self._urls.clear()
            self._urls[digest] = base64.b64decode(data[key]).decode().strip()
        return self._urls[digest]


def blocked_state(step: Step, name: str) -> State | None:
    """What `Deployed` says when a child can't be applied."""
    if step is Step.TAKEN:
        text = f"there is a Deployment {name} that isn't ours: remove it, or rename the resource"
        return bad(Condition.DEPLOYED, Reason.NAME_TAKEN, text)
    if step is Step.WAIT:
        text = f"the former Deployment {name} is still going"
        return bad(Condition.DEPLOYED, Reason.DEPLOYING, text)
    return None


def _with(states: Sequence[State], other: State) -> tuple[State, ...]:
    return tuple(other if state.type is other.type else state for state in states)
