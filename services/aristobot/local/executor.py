"""Turns resources into what runs: the embedded counterpart of the operator.

One pass (`reconcile`) compares the stored resources with the processes, tokens and broker records
there are, and makes them equal; it is safe to repeat and ends with a true status on every broker.
A pass runs on every announced change and every few seconds. Deliberately not here: what a broker
needs to run (`contracts.workload`), active strategies (`local.strategies`), and keeping processes
alive (`local.supervisor`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets as random
from collections.abc import Awaitable, Callable

import httpx

from aristobot.contracts.directory import BrokerRecord, TokenRecord
from aristobot.contracts.keys import token_hash
from aristobot.contracts.nats_roles import NatsRole
from aristobot.contracts.nats_roles import gateway as gateway_role
from aristobot.contracts.resources import (
    Broker,
    Environment,
    SecretDocument,
    SecretMetadata,
    SimulatedAccount,
)
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
    BrokerKey,
)
from aristobot.contracts.workload import (
    OWNER_WEBHOOK_SECRET,
    credentials_secret,
    gateway_workload,
    webhook_secret,
)
from aristobot.core.errors import Misconfigured, Retryable
from aristobot.local import parts
from aristobot.local.heartbeats import Heartbeats
from aristobot.local.parts import Surroundings
from aristobot.local.process import ProcessSpec
from aristobot.local.status import report_ready
from aristobot.local.strategies import ActiveStrategies
from aristobot.local.supervisor import Phase, Supervisor
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.db import EVERY_OWNER
from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_store import StoredResource
from aristobot.platform.waiting import end_if_cancelled, wait_set

logger = logging.getLogger(__name__)

_PASS_SECONDS = 3.0
_MAX_GATEWAYS = 200


class _SimulatorAway(Retryable):
    """Only its brokers have to wait, and their gateways go on."""


class Executor:
    """`wake` asks for a pass now; `run` makes passes until cancelled."""

    def __init__(
        self,
        *,
        store: PostgresResourceStore,
        supervisor: Supervisor,
        bus: Bus,
        around: Surroundings,
        issue_credentials: Callable[[str, NatsRole], Awaitable[None]],
        heartbeats: int,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._bus = bus
        self._tokens = Bucket(bus, TOKENS_BUCKET)
        self._brokers = Bucket(bus, BROKERS_BUCKET)
        self._strategies = ActiveStrategies(
            store=store, supervisor=supervisor, bus=bus, around=around
        )
        self._heartbeats = Heartbeats(supervisor, around, replicas=heartbeats)
        self._around = around
        self._issue_credentials = issue_credentials
        self._slots: dict[str, int] = {}
        self._wake = asyncio.Event()
        # One for all passes: making a client costs 30 ms. It speaks plain HTTP on this machine.
        self._simulator = httpx.AsyncClient(timeout=2.0, trust_env=False, verify=False)

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        await self._bus.notice(f"$KV.{STRATEGY_STATUS_BUCKET}.>", self.wake)
        async with self._simulator:
            while True:
                self._wake.clear()
                try:
                    await self.reconcile()
                except Retryable as error:
                    logger.warning("resources wait", extra={"error": str(error)})
                except Exception:
                    # The boundary of a pass: what runs goes on, and the next pass tries again.
                    logger.exception("a pass over the resources failed")
                end_if_cancelled()
                await wait_set(self._wake, _PASS_SECONDS)

    async def reconcile(self) -> None:
        """One pass. Raises `Retryable` when database or bus are away; nothing is lost by it."""
        stored = await self._store.list(EVERY_OWNER, "Broker")
        tokens: dict[str, bytes] = {}
        records: dict[str, bytes] = {}
        markets: set[str] = set()
        running: set[str] = set()
        for owner in sorted({resource.owner for resource in stored}):
            token = await self._token(owner, OWNER_WEBHOOK_SECRET)
            tokens[token_hash(token)] = TokenRecord(owner=owner).encode()
        for resource in stored:
            try:
                broker = resource.parse(Broker)
                key = BrokerKey(resource.owner, resource.name)
                token = await self._token(resource.owner, webhook_secret(resource.name))
                tokens[token_hash(token)] = TokenRecord(
                    owner=resource.owner, broker=resource.name
                ).encode()
                record = BrokerRecord.of(resource.owner, broker)
                records[str(key)] = record.encode()
                markets.add(record.market)
                spec = await self._gateway(key, broker)
            except Misconfigured as error:
                await self._report(resource, ready=False, reason="NotRunnable", text=str(error))
                continue
            except _SimulatorAway as error:
                running.add(gateway_workload(key.owner, broker).name)
                await self._report(resource, ready=False, reason="NoSimulator", text=str(error))
                continue
            running.add(spec.name)
            await self._supervisor.put(spec)
            await self._report_gateway(resource, spec.name)
        await self._remove_others(running)
        # Brokers first: a token must never lead to a broker that nobody knows yet. Tokens that
        # are gone go first for the same reason.
        await self._tokens.keep_only(set(tokens))
        await self._brokers.make_equal(records)
        await self._heartbeats.make_equal(markets)
        await self._tokens.make_equal(tokens)
        await self._strategies.reconcile(stored)

    async def _remove_others(self, running: set[str]) -> None:
        for state in self._supervisor.states():
            if state.name.startswith("gateway-") and state.name not in running:
                await self._supervisor.remove(state.name)
                self._slots.pop(state.name, None)

    async def _token(self, owner: str, secret: str) -> str:
        """The token kept in `secret`, made the first time."""
        values = await self._store.read_secret(owner, secret)
        if "token" not in values:
            values = {"token": random.token_urlsafe(32)}
            await self._store.apply(
                owner, SecretDocument(metadata=SecretMetadata(name=secret), string_data=values)
            )
        return values["token"]

    async def _gateway(self, key: BrokerKey, broker: Broker) -> ProcessSpec:
        workload = gateway_workload(key.owner, broker)
        is_simulated = broker.spec.environment is Environment.SIMULATOR
        if is_simulated:
            await self._simulated_account(key, broker)
        slot = self._slot(workload.name)
        port = self._around.ports.gateway_admin(slot)
        await self._issue_credentials(workload.name, gateway_role(key.owner, key.broker))
        environment = self._around.environment(workload.name, database=True, admin_port=port)
        environment |= workload.environment
        if is_simulated:
            url = self._around.simulator_url
            environment["ARISTOBOT_EXCHANGE_URL"] = url
            environment["ARISTOBOT_EXCHANGE_WS_URL"] = url.replace("http", "ws", 1) + "/ws-api/v3"
        for variable, reference in workload.secrets.items():
            values = await self._store.read_secret(key.owner, reference.secret)
            if reference.key not in values:
                raise Misconfigured(
                    f"secret {reference.secret} with entry {reference.key} is missing: apply a "
                    "Secret of that name with apiKey and apiSecret"
                )
            environment[variable] = values[reference.key]
        return parts.service(
            self._around, workload.name, workload.arguments, environment, probe_port=port
        )

    def _slot(self, name: str) -> int:
        if name not in self._slots:
            free = set(range(_MAX_GATEWAYS)) - set(self._slots.values())
            if not free:
                raise Misconfigured(f"more than {_MAX_GATEWAYS} brokers don't fit on one machine")
            self._slots[name] = min(free)
        return self._slots[name]

    async def _simulated_account(self, key: BrokerKey, broker: Broker) -> None:
        """Open the broker's account on the simulator, once."""
        name = credentials_secret(broker)
        credentials = await self._store.read_secret(key.owner, name)
        if not {"apiKey", "apiSecret"} <= credentials.keys():
            credentials = {"apiKey": random.token_hex(32), "apiSecret": random.token_hex(32)}
            await self._store.apply(
                key.owner,
                SecretDocument(metadata=SecretMetadata(name=name), string_data=credentials),
            )
        account = broker.spec.simulator or SimulatedAccount()
        try:
            answer = await self._simulator.put(
                f"{self._around.simulator_url}/control/accounts/{credentials['apiKey']}",
                json={
                    "secret": credentials["apiSecret"],
                    "balances": {a: format(v, "f") for a, v in account.balances.items()},
                },
            )
        except httpx.HTTPError as error:
            raise _SimulatorAway(
                f"the simulator does not answer: {type(error).__name__}"
            ) from error
        if answer.is_error:
            raise Misconfigured(f"the simulator refuses the account: {answer.text[:200]}")

    async def _report_gateway(self, resource: StoredResource, part: str) -> None:
        state = self._supervisor.state(part)
        if state is None or state.phase is not Phase.READY:
            text = state.last_exit if state and state.last_exit else "the gateway is starting"
            await self._report(resource, ready=False, reason="GatewayNotReady", text=text)
            return
        await self._report(resource, ready=True, reason="GatewayReady", text="the gateway runs")

    async def _report(
        self, resource: StoredResource, *, ready: bool, reason: str, text: str
    ) -> None:
        await report_ready(self._store, resource, ready=ready, reason=reason, text=text)
