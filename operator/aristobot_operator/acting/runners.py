"""What the runners say of their strategies: follows the bucket of statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from pydantic import ValidationError

from aristobot.contracts.messages import StrategyStatus
from aristobot.contracts.streams import STRATEGY_STATUS_BUCKET
from aristobot.platform.bus import Bus
from aristobot.platform.kv_mirror import KvMirror
from aristobot_operator.plans.active_strategy import Heard
from aristobot_operator.work_queue import Key

logger = logging.getLogger(__name__)


class Runners:
    """`changed` is told of every strategy about which something new was said."""

    def __init__(self, changed: Callable[[Key], None]) -> None:
        self._changed = changed
        self._raw: dict[str, bytes] = {}
        self._said: dict[str, StrategyStatus] = {}
        #: The last candle's close, and when (loop time) it came to be that.
        self._candles: dict[str, tuple[datetime, float]] = {}

    async def run(self, bus: Bus) -> None:
        """Follow the bucket for ever; ends on cancellation."""
        await KvMirror(bus, STRATEGY_STATUS_BUCKET, on_change=self._take).run()

    def heard(self, owner: str, name: str) -> Heard:
        """The last word on a strategy. A candle's age counts from when we heard of it."""
        key = f"{owner}.{name}"
        candle = self._candles.get(key)
        age = None
        if candle is not None:
            age = timedelta(seconds=asyncio.get_running_loop().time() - candle[1])
        return Heard(self._said.get(key), age)

    def _take(self, entries: Mapping[str, bytes]) -> None:
        now = asyncio.get_running_loop().time()
        for key in entries.keys() | self._raw.keys():
            value = entries.get(key)
            if value == self._raw.get(key):
                continue
            self._said.pop(key, None)
            if value is None:
                self._candles.pop(key, None)
            else:
                self._read(key, value, now)
            owner, _, name = key.partition(".")
            self._changed(Key("ActiveStrategy", owner, name))
        self._raw = dict(entries)

    def _read(self, key: str, value: bytes, now: float) -> None:
        try:
            said = self._said[key] = StrategyStatus.model_validate_json(value)
        except ValidationError:
            logger.exception("strategy status can't be read", extra={"bucket_key": key})
            return
        close = said.last_candle_close
        if close is not None and self._candles.get(key, (None, 0.0))[0] != close:
            self._candles[key] = (close, now)
