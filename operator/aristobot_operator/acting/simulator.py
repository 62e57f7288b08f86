"""Opens the simulated accounts of brokers, and again now and then: the simulator may be a new one.

Opening is idempotent: an account that is there keeps its balances and orders. The keys of one are
a function of its broker, so a Secret that somebody deleted, or whoever deletes in the foreground
while its strategies still sell, comes back with the same account.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Final

import httpx

from aristobot.contracts.resources import Broker, Environment, SimulatedAccount
from aristobot.contracts.workload import credentials_secret
from aristobot.platform.nats_auth import Trust
from aristobot_operator.builders.secrets import secret
from aristobot_operator.cache import Cache, name_of, namespace_of
from aristobot_operator.kube import Conflict, Kube, Object
from aristobot_operator.plans.broker import CREDENTIALS
from aristobot_operator.plans.seen import Problem
from aristobot_operator.reasons import Reason
from aristobot_operator.settings import OperatorSettings

AGAIN_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 5.0


class SimulatedAccounts:
    def __init__(self, settings: OperatorSettings, kube: Kube, cache: Cache, trust: Trust) -> None:
        self._settings = settings
        self._trust = trust
        self._kube = kube
        self._cache = cache
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)
        #: What was opened, and until when that is believed.
        self._opened: dict[tuple[str, str], tuple[object, float]] = {}

    async def close(self) -> None:
        await self._http.aclose()

    async def ensure(self, found: Object, broker: Broker) -> Problem | None:
        """Open the broker's account; why it can't be, or None. Raises `Retryable`."""
        if broker.spec.environment is not Environment.SIMULATOR:
            return None
        if self._settings.simulator_url is None:
            return Problem(
                Reason.NO_SIMULATOR,
                "the platform runs no simulator: set the chart's value simulator.enabled, or "
                "another spec.environment",
            )
        namespace, name = namespace_of(found), credentials_secret(broker)
        seen = self._cache.get("Secret", namespace, name)
        if broker.spec.credentials_secret_ref is None and not _is_whole(seen):
            await self._make(found, namespace, name)
            seen = self._cache.get("Secret", namespace, name)
        if not _is_whole(seen):
            return None  # the user named a Secret of their own, and the plan says what it lacks
        assert seen is not None
        account = broker.spec.simulator or SimulatedAccount()
        balances = {asset: format(amount, "f") for asset, amount in account.balances.items()}
        now = asyncio.get_running_loop().time()
        what = (sorted(seen["digests"].items()), balances)
        opened, until = self._opened.get((namespace, name_of(found)), (None, 0.0))
        if opened == what and now < until:
            return None
        problem = await self._open(namespace, name, balances)
        if problem is None:
            self._opened[namespace, name_of(found)] = (what, now + AGAIN_SECONDS * 0.9)
        return problem

    async def _make(self, found: Object, namespace: str, name: str) -> None:
        uid = found["metadata"]["uid"]
        values = {entry: self._key(f"simulated account {uid} {entry}") for entry in CREDENTIALS}
        document = secret(
            self._settings,
            namespace,
            name,
            values,
            component="gateway",
            made_for="once",
            owner=found,
        )
        try:
            made = await self._kube.create(document)
        except Conflict:  # the cache was behind
            made = await self._kube.get("Secret", namespace, name)
        self._cache.put("Secret", made)

    def _key(self, what: str) -> str:
        # Ed25519 signs without chance, and nobody else can: a keyed digest of `what`.
        return hashlib.sha256(self._trust.account.sign(what.encode())).hexdigest()

    async def _open(self, namespace: str, name: str, balances: dict[str, str]) -> Problem | None:
        data = (await self._kube.get("Secret", namespace, name))["data"]
        key, password = (base64.b64decode(data[entry]).decode() for entry in CREDENTIALS)
        try:
            answer = await self._http.put(
                f"{self._settings.simulator_url}/control/accounts/{key}",
                json={"secret": password, "balances": balances},
            )
        except httpx.HTTPError as error:
            return Problem(
                Reason.SIMULATOR_AWAY, f"the simulator does not answer: {type(error).__name__}"
            )
        if answer.is_error:
            return Problem(
                Reason.SIMULATOR_AWAY, f"the simulator refuses the account: {answer.text[:200]}"
            )
        return None


def _is_whole(seen: Object | None) -> bool:
    return seen is not None and all(entry in seen["digests"] for entry in CREDENTIALS)
