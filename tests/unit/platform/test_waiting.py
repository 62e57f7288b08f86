"""A cancellation that a library swallowed still ends the task, at its next wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from aristobot.core.errors import Retryable
from aristobot.platform.waiting import end_if_cancelled, patiently, pause, wait_set


async def _swallowing() -> None:
    """As `wait_for` of Python 3.11 does when its result comes in the same moment."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)


async def _then_wait_set() -> None:
    await _swallowing()
    await wait_set(asyncio.Event(), 3600)


async def _then_check() -> None:
    await _swallowing()
    end_if_cancelled()
    await asyncio.sleep(3600)


async def _patiently() -> None:
    await patiently("test", _swallowing)
    await asyncio.sleep(3600)


async def _failing() -> None:
    """As nats-py on a connection that nobody reads any more."""
    await _swallowing()
    raise Retryable("no answer in time")


async def _then_patiently_again() -> None:
    await patiently("test", _failing)


async def _then_pause() -> None:
    await _swallowing()
    await pause(3600)


@pytest.mark.parametrize(
    "work", [_then_wait_set, _then_check, _then_pause, _patiently, _then_patiently_again]
)
async def test_a_swallowed_cancellation_ends_the_task(work: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_without_a_cancellation_waiting_is_waiting() -> None:
    event = asyncio.Event()
    assert not await wait_set(event, 0.01)
    event.set()
    assert await wait_set(event, 3600)
