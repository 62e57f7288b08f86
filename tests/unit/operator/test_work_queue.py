"""The queue: no key twice at a time, none forgotten, failures later and later."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot_operator.work_queue import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    Key,
    WorkQueue,
)

A, B = Key("Broker", "one", "a"), Key("Broker", "one", "b")


async def test_a_key_that_is_added_often_comes_once() -> None:
    queue = WorkQueue()
    for _ in range(3):
        queue.add(A)
    queue.add(B)
    assert [await queue.take(), await queue.take()] == [A, B]
    assert len(queue) == 0


async def test_a_key_that_is_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await queue.take() == A
    queue.add(A)
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0.01)
    assert not taking.done()  # never two at a time
    queue.done(A)
    assert await taking == A


async def test_failures_come_later_and_later_and_success_forgets_them() -> None:
    queue = WorkQueue()
    delays = []
    for _ in range(12):
        queue.add(A)
        await queue.take()
        delays.append(queue.failed(A))
    assert delays[0] == FIRST_RETRY_SECONDS
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_RETRY_SECONDS
    queue.add(A)
    await queue.take()
    queue.done(A)
    queue.add(A)
    await queue.take()
    assert queue.failed(A) == FIRST_RETRY_SECONDS


async def test_the_earlier_of_two_appointments_counts() -> None:
    queue = WorkQueue()
    queue.later(A, 3600)
    queue.later(A, 0.01)
    queue.later(A, 1800)
    async with asyncio.timeout(5):
        assert await queue.take() == A
    queue.done(A)
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0.03)
    assert not taking.done()  # the later ones were replaced by it
    taking.cancel()


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.integers(1, 4))
def test_whatever_is_added_is_worked_on_and_never_twice_at_once(
    names: list[str], workers: int
) -> None:
    async def run() -> tuple[set[str], bool]:
        queue, seen, at_work, clashed = WorkQueue(), set(), set(), False

        async def work() -> None:
            nonlocal clashed
            while True:
                key = await queue.take()
                clashed = clashed or key in at_work
                at_work.add(key)
                await asyncio.sleep(0)
                at_work.remove(key)
                seen.add(key.name)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for name in names:
            queue.add(Key("Strategy", "one", name))
            await asyncio.sleep(0)
        while not queue.is_idle:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        return seen, clashed

    assert asyncio.run(run()) == (set(names), False)


@pytest.mark.parametrize("kind", ["Broker", "Strategy"])
def test_a_key_reads_as_kubectl_writes_it(kind: str) -> None:
    assert str(Key(kind, "one", "a")) == f"{kind} one/a"
