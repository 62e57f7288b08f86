"""One operator works at a time: a Lease that is renewed, and the end of the process when it's lost.

The protocol is client-go's leader election: whoever holds the Lease renews it every few seconds; a
standby takes it when it has not seen it renewed for its whole duration, by the standby's own clock,
so that clocks need not agree. The holder counts from before it asked, which is earlier than any
standby can have seen the answer, and stops before that duration is over. Ended in order, it gives
the Lease back and the standby begins at once. Two at work for a moment would do no harm, as every
pass is idempotent; it would be noisy.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aristobot.core.errors import AristobotError, Fenced
from aristobot_operator.kube import Conflict, Kube, Object

logger = logging.getLogger(__name__)

DURATION_SECONDS = 15
_RENEW_SECONDS = 3.0
_RENEWAL_SECONDS = 5.0
_LOOK_SECONDS = 1.0
#: A holder that can't renew stops so long after it last could: before a standby may begin.
_GIVE_UP_SECONDS = 10.0
_RELEASE_SECONDS = 2.0
#: After so long an operator whose Lease was seized has noticed it.
NOTICED_SECONDS = _RENEW_SECONDS + _RENEWAL_SECONDS


@dataclass(slots=True)
class _Seen:
    version: str
    since: float


class Leadership:
    def __init__(self, kube: Kube, namespace: str, name: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._seen: _Seen | None = None
        #: When the renewal that last succeeded was asked for.
        self._renewed = 0.0
        self.is_held = False

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while True:
            try:
                if await self._try():
                    self.is_held = True
                    logger.info("leading", extra={"identity": self._identity})
                    return
            except AristobotError as error:
                logger.warning("the lease can't be had yet", extra={"error": str(error)})
            await asyncio.sleep(_LOOK_SECONDS)

    async def keep(self) -> None:
        """Renew it for ever. Raises `Fenced` when it is somebody else's, or can't be renewed."""
        loop = asyncio.get_running_loop()
        while True:
            gives_up_at = self._renewed + _GIVE_UP_SECONDS
            await asyncio.sleep(min(_RENEW_SECONDS, max(0.0, gives_up_at - loop.time())))
            try:
                async with asyncio.timeout_at(min(loop.time() + _RENEWAL_SECONDS, gives_up_at)):
                    is_ours = await self._try()
            except (AristobotError, TimeoutError) as error:
                if loop.time() >= gives_up_at:
                    self.is_held = False
                    raise Fenced("the lease could not be renewed in time") from error
                text = str(error) or type(error).__name__
                logger.warning("the lease wasn't renewed", extra={"error": text})
                continue
            if not is_ours:
                self.is_held = False
                raise Fenced("another operator holds the lease")

    async def seize(self, seconds: int) -> None:
        """Take it from whoever has it, for `seconds`: an operator at work finds out and ends.

        Raises `Retryable` when the API server is away.
        """
        while True:
            found = await self._kube.find("Lease", self._namespace, self._name)
            lease = self._lease(found, seconds)
            try:
                await (self._kube.replace(lease) if found else self._kube.create(lease))
            except Conflict:
                continue  # it was being renewed
            self.is_held = True
            return

    async def release(self) -> None:
        """Give it back, so that a standby need not wait; one that can't be given back runs out."""
        if not self.is_held:
            return
        self.is_held = False
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._give_back()
        except (AristobotError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            logger.warning("the lease isn't given back", extra={"error": text})

    async def _give_back(self) -> None:
        found = await self._kube.get("Lease", self._namespace, self._name)
        if found["spec"].get("holderIdentity") == self._identity:
            found["spec"] = {**found["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._kube.replace(found)

    async def _try(self) -> bool:
        asked_at = asyncio.get_running_loop().time()
        found = await self._kube.find("Lease", self._namespace, self._name)
        try:
            if found is None:
                await self._kube.create(self._lease(None))
            elif self._may_take(found):
                await self._kube.replace(self._lease(found))
            else:
                return False
        except Conflict:
            return False  # somebody else was first; the next look tells who
        self._renewed = asked_at
        return True

    def _may_take(self, found: Object) -> bool:
        spec: dict[str, Any] = found["spec"]
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        version, now = found["metadata"]["resourceVersion"], asyncio.get_running_loop().time()
        if self._seen is None or self._seen.version != version:
            self._seen = _Seen(version, now)
        limit: float = spec.get("leaseDurationSeconds", DURATION_SECONDS)
        return now - self._seen.since > limit

    def _lease(self, before: Object | None, seconds: int | None = None) -> Object:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        old: dict[str, Any] = before["spec"] if before else {}
        is_new = old.get("holderIdentity") != self._identity
        metadata = before["metadata"] if before else {}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**metadata, "name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": seconds or DURATION_SECONDS,
                "acquireTime": now if is_new else old.get("acquireTime", now),
                "renewTime": now,
                "leaseTransitions": old.get("leaseTransitions", 0) + (1 if is_new and old else 0),
            },
        }
