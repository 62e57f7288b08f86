"""A local copy of a NATS key-value bucket, at most a moment behind it.

Ingress and engine look tokens and brokers up here, without a round trip. The copy is always read
from the bucket as a whole: a change notice, a reconnection or the passing of time only says
*when* to read. So no missed notice can leave it wrong for longer than `_REREAD_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from aristobot.core.errors import Retryable
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import pause, wait_set

logger = logging.getLogger(__name__)

_REREAD_SECONDS = 5.0
_RETRY_SECONDS = 0.3
#: A notice reaches us beside the stream, so the bucket may not hold the change yet.
_SETTLE_SECONDS = 0.1


class KvMirror:
    """Keeps `entries` (key -> value) equal to the bucket (or its key `only`) while `run` runs.

    `on_change` is called, in the event loop, with the new entries whenever they differ.
    """

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        *,
        only: str | None = None,
        on_change: Callable[[Mapping[str, bytes]], None] | None = None,
    ) -> None:
        self._bus = bus
        self._name = bucket
        self._bucket = Bucket(bus, bucket, only=only)
        self._on_change = on_change
        self._entries: dict[str, bytes] = {}
        self._loaded = asyncio.Event()
        self._wake = asyncio.Event()

    @property
    def entries(self) -> Mapping[str, bytes]:
        return self._entries

    @property
    def is_loaded(self) -> bool:
        """Whether the bucket has been read at least once."""
        return self._loaded.is_set()

    async def wait_loaded(self) -> None:
        await self._loaded.wait()

    async def run(self) -> None:
        """Follow the bucket for ever; ends on cancellation."""
        await self._bus.notice(self._bucket.subject, self._wake.set)
        while True:
            self._wake.clear()
            try:
                self._accept(await self._bucket.read())
            except Retryable as error:
                logger.warning(
                    "bucket can't be read", extra={"bucket": self._name, "error": str(error)}
                )
                await pause(_RETRY_SECONDS)
                continue
            if await wait_set(self._wake, _REREAD_SECONDS):
                await pause(_SETTLE_SECONDS)

    def _accept(self, entries: dict[str, bytes]) -> None:
        changed = entries != self._entries or not self._loaded.is_set()
        self._entries = entries
        self._loaded.set()
        if changed and self._on_change is not None:
            self._on_change(entries)
