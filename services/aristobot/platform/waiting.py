"""Waiting: at start for what is not there yet, for an event, and never past a cancellation.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that comes in the same moment as the
result it waits for (python/cpython#86296), and nats-py uses it everywhere. A task of ours that goes
on after it was cancelled keeps its process from ending: a gateway that was fenced would neither
work nor be restarted. So loops wait with `wait_set` and `pause`, after a failure too, and calls to
NATS end in `end_if_cancelled`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aristobot.core.errors import Retryable

logger = logging.getLogger(__name__)

_FIRST_SECONDS = 0.2
_LONGEST_SECONDS = 5.0


async def patiently(what: str, step: Callable[[], Awaitable[None]]) -> None:
    """Do `step` until it raises no `Retryable`, waiting longer each time, and log why."""
    delay = _FIRST_SECONDS
    while True:
        try:
            await step()
            end_if_cancelled()
            return
        except Retryable as error:
            logger.warning("waiting to start", extra={"for": what, "error": str(error)})
            await pause(max(delay, min(error.after_seconds, 30.0)))
            delay = min(delay * 2, _LONGEST_SECONDS)


async def pause(seconds: float) -> None:
    """Sleep before the next attempt.

    Ends the task instead if a library has swallowed its cancellation before: an attempt that fails
    for ever would otherwise be repeated for ever.
    """
    end_if_cancelled()
    await asyncio.sleep(seconds)


async def wait_set(event: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait until `event` is set, or until the time is over; whether it is set.

    Ends the task instead if a library has swallowed its cancellation before.
    """
    end_if_cancelled()
    try:
        async with asyncio.timeout(timeout_seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def end_if_cancelled() -> None:
    """Raise the cancellation that a library has swallowed in the current task, if any."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
