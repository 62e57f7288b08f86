"""Checks all the time that the stored candles are coherent, and has repaired what is missing.

A candle is expected once it had the time between two passes to be fetched and stored. What has
been found in order is not looked at again: stored candles never change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from aristobot.core.candle_builder import Missed
from aristobot.core.candle_check import Finding, check
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Retryable
from aristobot.heartbeat.repair import LONGEST_FILL
from aristobot.heartbeat.store import HeartbeatStore

logger = logging.getLogger(__name__)

_PASS_SECONDS = 5.0
_LONGEST = Timeframe.H4


class Coherence:
    """`is_coherent` says what the last complete pass found; True before the first."""

    def __init__(
        self,
        store: HeartbeatStore,
        *,
        covered_since: Mapping[str, datetime],
        market_time: Callable[[], datetime | None],
        repair: Callable[[Missed], None],
        is_busy: Callable[[str], bool],
        is_settled: Callable[[], bool],
    ) -> None:
        self._store = store
        self._covered_since = covered_since
        self._market_time = market_time
        self._repair = repair
        self._is_busy = is_busy
        self._is_settled = is_settled
        self._checked_until: dict[str, datetime] = {}
        self._findings: dict[str, list[Finding]] = {}

    @property
    def is_coherent(self) -> bool:
        return not any(self._findings.values())

    def problems(self) -> list[str]:
        """One sentence for each symbol with findings."""
        return [
            f"candles of {symbol}: {found[0]}"
            + (f" and {len(found) - 1} more" if len(found) > 1 else "")
            for symbol, found in self._findings.items()
            if found
        ]

    async def run(self) -> None:
        """Check for ever; ends on cancellation."""
        expected: datetime | None = None
        while True:
            before, expected = expected, self._market_time()
            await asyncio.sleep(_PASS_SECONDS)
            try:
                await self._store.settle_gaps()
                if before is not None and self._is_settled():
                    for symbol in tuple(self._covered_since):
                        await self._check(symbol, before)
            except Retryable as error:
                logger.info("candles can't be checked now", extra={"why": str(error)})

    def forget(self, symbol: str) -> None:
        """The symbol is not followed any more."""
        self._checked_until.pop(symbol, None)
        self._findings.pop(symbol, None)

    async def _check(self, symbol: str, until: datetime) -> None:
        since = self._checked_until.get(symbol)
        begun = self._covered_since[symbol]
        since = begun if since is None else max(begun, since)
        since = max(since, Timeframe.M1.open_of(until - LONGEST_FILL) + timedelta(minutes=1))
        stored = await self._store.stored(symbol, since)
        if symbol not in self._covered_since:
            return  # it is not followed any more
        findings = check(stored, since, until)
        if findings != self._findings.get(symbol, []):
            if findings:
                logger.error(
                    "stored candles are not coherent",
                    extra={"symbol": symbol, "findings": [str(f) for f in findings[:10]]},
                )
            else:
                logger.info("stored candles are coherent again", extra={"symbol": symbol})
        self._findings[symbol] = findings
        if not findings:
            self._checked_until[symbol] = max(since, _LONGEST.open_of(until))
        missing = [finding for finding in findings if finding.is_missing]
        if missing and not self._is_busy(symbol):
            first = min(finding.open_time for finding in missing)
            last = max(finding.close_time for finding in missing)
            self._repair(Missed(symbol, first, last, "not stored"))
