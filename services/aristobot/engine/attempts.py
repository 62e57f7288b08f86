"""Faults of ours while a message is acted on: it comes again a few times, then it is given up.

For all the engine's workers. A cause may pass; a message that never will may neither vanish without
a word nor block those behind it for ever. What giving up means is the worker's: a row that says so,
or a message dropped. In memory: a new process begins to count anew.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from aristobot.core.errors import Retryable
from aristobot.platform.bus import Delivery

logger = logging.getLogger(__name__)

#: About 20 s, as the bus waits 2 s after each: long enough for a cause outside of us to pass.
_MAX_FAILURES = 10


class Attempts:
    """Those of one consumer's messages, by their sequence."""

    def __init__(self) -> None:
        self._failures: Counter[int] = Counter()

    async def act(
        self,
        delivery: Delivery,
        work: Callable[[], Awaitable[None]],
        give_up: Callable[[str], Awaitable[None]],
    ) -> None:
        """Do `work`, or `give_up` with a sentence when it has failed too often.

        Raises what `work` raises until then; a `Retryable`, the world's fault, isn't counted.
        """
        try:
            await work()
        except Retryable:
            raise
        except Exception as error:
            self._failures[delivery.sequence] += 1
            if self._failures[delivery.sequence] < _MAX_FAILURES:
                raise
            logger.exception(
                "message failed",
                extra={"subject": delivery.subject, "sequence": delivery.sequence},
            )
            await give_up(f"an internal error: {type(error).__name__}")
        del self._failures[delivery.sequence]
