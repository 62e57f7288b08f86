"""Writes what happened to a resource as Kubernetes Events, which `kubectl describe` shows.

An Event is for people: one that can't be written is logged and forgotten.
"""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from typing import Literal

from aristobot.contracts.kubernetes import OPERATOR
from aristobot.core.errors import AristobotError
from aristobot_operator.cache import name_of, namespace_of
from aristobot_operator.kube import Kube, Object
from aristobot_operator.reasons import EventReason

logger = logging.getLogger(__name__)

_LONGEST_NOTE = 1000


class Events:
    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance

    async def write(
        self,
        about: Object,
        kind: Literal["Normal", "Warning"],
        reason: EventReason,
        text: str,
    ) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        document = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{name_of(about)}.{secrets.token_hex(8)}",
                "namespace": namespace_of(about),
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": namespace_of(about),
                "name": name_of(about),
                "uid": about["metadata"]["uid"],
                "resourceVersion": about["metadata"]["resourceVersion"],
            },
            "type": kind,
            "reason": reason.value,
            "message": text[:_LONGEST_NOTE],
            "source": {"component": OPERATOR},
            "reportingComponent": OPERATOR,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._kube.create(document)
        except AristobotError as error:
            logger.warning(
                "event can't be written", extra={"reason": reason.value, "error": str(error)}
            )
