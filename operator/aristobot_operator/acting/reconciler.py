"""The workers: take a key from the queue, make one pass over its resource, and say how it went.

Whatever goes wrong with one resource ends here and comes again later; the others go on.
Deliberately not here: what a pass does (`brokers`, `active_strategies`, `strategies`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from aristobot.core.errors import Retryable
from aristobot.platform.waiting import end_if_cancelled
from aristobot_operator import metrics
from aristobot_operator.acting.active_strategies import ActiveStrategies
from aristobot_operator.acting.brokers import Brokers
from aristobot_operator.acting.status import StatusWriter
from aristobot_operator.cache import Cache
from aristobot_operator.kube import Conflict, Gone
from aristobot_operator.plans.strategy import plan_strategy
from aristobot_operator.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_PASS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Reconciler:
    queue: WorkQueue
    cache: Cache
    status: StatusWriter
    brokers: Brokers
    active_strategies: ActiveStrategies

    async def work(self) -> None:
        """Work for ever; ends on cancellation."""
        while True:
            key = await self.queue.take()
            started = time.monotonic()
            outcome = "failed"
            try:
                async with asyncio.timeout(_PASS_SECONDS):
                    again = await self._reconcile(key)
                outcome = "done"
                self.queue.done(key)
                if again is not None:
                    self.queue.later(key, again)
            except Gone:
                outcome = "gone"
                self.queue.done(key)
            except Conflict as error:
                outcome = "conflict"
                self._again(key, error)
            except (Retryable, TimeoutError) as error:
                self._again(key, error)
            except Exception:
                # The boundary of a pass: one resource's trouble must not end the others' care.
                logger.exception("a pass failed", extra={"resource": str(key)})
                self.queue.failed(key)
            finally:
                metrics.PASSES.labels(key.kind, outcome).inc()
                metrics.PASS_SECONDS.labels(key.kind).observe(time.monotonic() - started)
            if outcome in ("done", "gone"):
                metrics.LAST_SUCCESS.set_to_current_time()
            end_if_cancelled()

    async def _reconcile(self, key: Key) -> float | None:
        found = self.cache.get(key.kind, key.namespace, key.name)
        if found is None:
            return None  # gone; what was its own goes with it
        match key.kind:
            case "Broker":
                return await self.brokers.reconcile(found)
            case "ActiveStrategy":
                return await self.active_strategies.reconcile(found)
            case _:
                ready, *others = plan_strategy(self.cache, found)
                phase = "Ready" if ready.is_true else "Failed"
                await self.status.write(found, (ready, *others), phase)
                return None

    def _again(self, key: Key, error: Exception) -> None:
        delay = self.queue.failed(key)
        text = str(error) or type(error).__name__
        logger.warning(
            "a pass comes again",
            extra={"resource": str(key), "error": text, "in_seconds": delay},
        )
