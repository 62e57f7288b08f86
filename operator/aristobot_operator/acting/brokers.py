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
from aristobot_operator.acting.finalizers import set_finalizer
from aristobot_operator.acting.pods import Pods
from aristobot_operator.acting.simulator import AGAIN_SECONDS, SimulatedAccounts
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.builders.deployments import gateway_deployment
from aristobot_operator.builders.objects import digest_of
from aristobot_operator.builders.secrets import only, secret
from aristobot_operator.cache import (
    Cache,
    finalizers_of,
    generation_of,
    is_deleting,
    name_of,
    namespace_of,
)
from aristobot_operator.conditions import State, bad
from aristobot_operator.kube import Conflict, Denied, Kube, Object
from aristobot_operator.plans import broker as plans
from aristobot_operator.plans.active_strategy import is_left_alone
from aristobot_operator.plans.directory import TOKEN_ENTRY
from aristobot_operator.reasons import Condition, Reason
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
    pods: Pods
    accounts: SimulatedAccounts
    #: The database's URL, by the digest under which the cache knows it.
    _urls: dict[str, str] = field(default_factory=dict, repr=False)

    async def reconcile(self, found: Object) -> float | None:
        """One pass. Returns the seconds after which to look again, None when only changes count.

        Raises `Retryable`, `Conflict` or `Gone`.
        """
        obstacle = self._database_problem() or await self.pods.obstacle(
            found, gateway_name(name_of(found))
        )
        plan = plans.plan_broker(self.cache, found, None, obstacle)
        if is_left_alone(found):
            text = "left alone, as its annotation reconcile: disabled says"
            state = State(Condition.PAUSED, "True", Reason.RECONCILE_DISABLED, text)
            await self._write(found, (*plan.states, state))
            return None
        simulator = None
        if plan.broker is not None:
            if (found.get("status") or {}).get("observedGeneration") != generation_of(found):
                # Before anybody is asked: a new spec has an answer.
                await self._write(found, plan.states)
            simulator = await self.accounts.ensure(found, plan.broker)
            plan = plans.plan_broker(self.cache, found, simulator, obstacle)
        await self._write(found, plan.states)
        users = plans.users_that_wind_down(self.cache, namespace_of(found), name_of(found))
        await set_finalizer(self.kube, self.cache, found, IN_USE_FINALIZER, wanted=bool(users))
        if plan.broker is None or (is_deleting(found) and not users):
            return None
        if not is_deleting(found):
            await self._token(found, webhook_secret(name_of(found)), owner=found)
            await self._token(found, OWNER_WEBHOOK_SECRET, owner=None)
        again = AGAIN_SECONDS if plan.broker.spec.environment is Environment.SIMULATOR else None
        if not plan.may_run:
            return _WAIT_SECONDS if simulator is not None else again
        if obstacle is not None and obstacle.reason != Reason.DENIED:
            return _WAIT_SECONDS
        try:
            await self._gateway(found, plan.broker)
        except Denied:
            obstacle = await self.pods.obstacle(found, gateway_name(name_of(found)))
            plan = plans.plan_broker(self.cache, found, simulator, obstacle)
            await self._write(found, plan.states)
            raise
        return again

    async def _write(self, found: Object, states: Sequence[State]) -> None:
        summary = plans.ready(states)
        if is_deleting(found):
            users = plans.users_that_wind_down(self.cache, namespace_of(found), name_of(found))
            others = [each for each in finalizers_of(found) if each != IN_USE_FINALIZER]
            if not users and not others:
                return  # it goes now
            summary = plans.going(users, others)
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

    async def _gateway(self, found: Object, broker: Broker) -> None:
        """Its Secret and its Deployment. Raises `Denied`."""
        namespace, name = namespace_of(found), name_of(found)
        exchange = self.cache.get("Secret", namespace, credentials_secret(broker)) or {}

        def deployment(own: str) -> Object:
            read = only(exchange.get("digests", {}), plans.CREDENTIALS)
            secrets = digest_of([own, read])
            return gateway_deployment(self.settings, found, broker, secrets)

        await self.pods.ensure(
            found,
            gateway_name(name),
            gateway_role(namespace, name),
            deployment,
            component="gateway",
            label={BROKER_LABEL: name},
            more={DATABASE_URL_KEY: await self._database_url()},
        )

    def _database_problem(self) -> State | None:
        if self._database_digest() is not None:
            return None
        name, key = self.settings.database_secret.name, self.settings.database_secret.key
        text = (
            f"Secret {name} of namespace {self.settings.namespace} has no entry {key} with the "
            "database's URL"
        )
        return bad(Condition.DEPLOYED, Reason.PLATFORM_NOT_READY, text)

    def _database_digest(self) -> str | None:
        name, key = self.settings.database_secret.name, self.settings.database_secret.key
        seen = self.cache.get("Secret", self.settings.namespace, name) or {}
        digest: str | None = seen.get("digests", {}).get(key)
        return digest

    async def _database_url(self) -> str:
        digest = self._database_digest()
        assert digest is not None  # or it would be an obstacle
        if digest not in self._urls:
            name, key = self.settings.database_secret.name, self.settings.database_secret.key
            data = (await self.kube.get("Secret", self.settings.namespace, name))["data"]
            self._urls.clear()
            self._urls[digest] = base64.b64decode(data[key]).decode().strip()
        return self._urls[digest]
