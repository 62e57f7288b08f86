"""Hands the active strategies to the runner, and its word on them back into their status.

Part of the executor's pass. The runner is one process for all of them, there as long as there is
an active strategy. Deliberately not here: the records themselves (`contracts.active_strategies`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from aristobot.contracts.active_strategies import NotRunnable, record_of, trading_mode_problem
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.messages import StrategyPhase, StrategyStatus
from aristobot.contracts.resources import ActiveStrategy, Broker, Strategy
from aristobot.contracts.streams import STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET
from aristobot.core.errors import Misconfigured
from aristobot.local import parts
from aristobot.local.parts import Surroundings
from aristobot.local.status import report_ready
from aristobot.local.supervisor import Supervisor
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.db import EVERY_OWNER
from aristobot.platform.postgres_store import PostgresResourceStore
from aristobot.platform.resource_store import StoredResource

logger = logging.getLogger(__name__)

_Referred = TypeVar("_Referred", Broker, Strategy)


class ActiveStrategies:
    def __init__(
        self,
        *,
        store: PostgresResourceStore,
        supervisor: Supervisor,
        bus: Bus,
        around: Surroundings,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._around = around
        self._records = Bucket(bus, STRATEGIES_BUCKET)
        self._statuses = Bucket(bus, STRATEGY_STATUS_BUCKET)

    async def reconcile(self, brokers: Sequence[StoredResource]) -> None:
        """One pass. Raises `Retryable` when database or bus are away."""
        stored = await self._store.list(EVERY_OWNER, "ActiveStrategy")
        known_brokers = {(each.owner, each.name): each for each in brokers}
        known_strategies = {
            (each.owner, each.name): each
            for each in await self._store.list(EVERY_OWNER, "Strategy")
        }
        statuses = await self._read_statuses() if stored else {}
        records: dict[str, bytes] = {}
        for resource in stored:
            try:
                active = resource.parse(ActiveStrategy)
                owner, spec = resource.owner, active.spec
                broker = _parsed(known_brokers.get((owner, spec.broker_ref.name)), Broker)
                strategy = _parsed(known_strategies.get((owner, spec.strategy_ref.name)), Strategy)
                record = record_of(
                    owner,
                    active,
                    uid=resource.uid,
                    generation=resource.generation,
                    strategy=strategy,
                    broker=broker,
                )
            except Misconfigured as error:
                reason = error.reason if isinstance(error, NotRunnable) else "Invalid"
                await report_ready(
                    self._store, resource, ready=False, reason=reason, text=str(error)
                )
                continue
            key = f"{resource.owner}.{resource.name}"
            records[key] = record.encode()
            await self._report(resource, record, statuses.get(key), broker)
        await self._records.make_equal(records)
        if records:
            await self._supervisor.put(parts.runner(self._around))
        elif self._supervisor.state("runner") is not None:
            await self._supervisor.remove("runner")

    async def _read_statuses(self) -> dict[str, StrategyStatus]:
        found = {}
        for key, value in (await self._statuses.read()).items():
            try:
                found[key] = StrategyStatus.model_validate_json(value)
            except ValidationError:
                logger.exception("strategy status can't be read", extra={"bucket_key": key})
        return found

    async def _report(
        self,
        resource: StoredResource,
        record: ActiveStrategyRecord,
        status: StrategyStatus | None,
        broker: Broker | None,
    ) -> None:
        if status is None or not record.is_meant_by(status):
            await report_ready(
                self._store,
                resource,
                ready=False,
                reason="Starting",
                text="the runner has not begun with it yet",
                more={
                    "phase": StrategyPhase.STARTING.value,
                    "timeframe": record.timeframe.value,
                },
            )
            return
        more: dict[str, Any] = {
            "phase": status.phase.value,
            "timeframe": record.timeframe.value,
            "restarts": status.restarts,
        }
        if status.last_decision is not None:
            more["lastDecision"] = status.last_decision
        is_running = status.phase is StrategyPhase.RUNNING
        problem = trading_mode_problem(broker) if broker is not None and is_running else None
        await report_ready(
            self._store,
            resource,
            ready=is_running and problem is None,
            reason="TradingMode" if problem else status.reason,
            text=problem or status.message,
            more=more,
        )


def _parsed(stored: StoredResource | None, model: type[_Referred]) -> _Referred | None:
    return stored.parse(model) if stored is not None else None
