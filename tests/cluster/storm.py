"""Alerts sent through the Ingress while pods go away, and what must hold of them afterwards.

The senders are TradingView's: cut off after 3 s, sent again after a 5xx or a broken connection up
to three times, a fifth of the alerts exact copies. The judgement is that of the fault run on one
machine (`tests.fault.chaos_audit`): of every accepted alert one row and one order, nothing else at
the exchange, both books equal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from tests.cluster.release import HOST, Release
from tests.fault.chaos import SYMBOLS, Sent
from tests.fault.chaos_audit import Audit, audit
from tests.fault.ledger import Account, Ledger, Signal, bar

#: Repeats a run, as far as chance was ours: its failure says which.
SEED_VARIABLE = "ARISTOBOT_TEST_SEED"
_ATTEMPTS = 4
_SENDER_SECONDS = 3.0
_SETTLE_SECONDS = 150.0


def seed_of(environment: Mapping[str, str] = os.environ) -> int:
    """A run's seed: another each time, or the one that is to be repeated."""
    told = environment.get(SEED_VARIABLE)
    return random.randrange(1_000_000) if told is None else int(told)


def seeded(name: str, seed: int) -> str:
    """A broker's name that no other run has: on a release that is kept, orders stay."""
    return f"{name}-{seed}"


@dataclass
class Senders:
    """`brokers`: their names, and the namespace of each. All randomness comes from `seed`.

    Their accounts may hold no other orders, so they are this run's own (`seeded`).
    """

    release: Release
    brokers: Mapping[str, str]
    seed: int
    sent: list[Sent] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._urls = {
            name: self.release.webhook_url(name, owner) for name, owner in self.brokers.items()
        }

    async def open_positions(self) -> None:
        """A large purchase of each pair, before anything is killed: sales need a position."""
        first = [self._new(name, "BuyMarket", "10", s) for name in self.brokers for s in SYMBOLS]
        async with self._client() as client:
            await asyncio.gather(*(self._deliver(client, each, 0.0) for each in first))
        for each in first:
            assert each.ids, f"{each.signal.name} of {each.broker} was not accepted"
            for identifier in each.ids:
                await asyncio.to_thread(self.release.order_of, identifier)

    async def send(self, count: int, seconds: float) -> None:
        """`count` small purchases and sales within `seconds`, and a fifth of them twice."""
        async with self._client() as client, asyncio.TaskGroup() as tasks:
            for _ in range(count):
                action, percent = self._dice.choice((("BuyMarket", "0.2"), ("SellMarket", "2")))
                broker = self._dice.choice(list(self.brokers))
                sent = self._new(broker, action, percent, self._dice.choice(SYMBOLS))
                moment = self._dice.uniform(0.0, seconds)
                tasks.create_task(self._deliver(client, sent, moment))
                if self._dice.random() < 0.2:
                    sent.copies += 1
                    again = moment + self._dice.expovariate(1 / 4.0)
                    tasks.create_task(self._deliver(client, sent, again))

    def _new(self, broker: str, action: str, percent: str, symbol: str) -> Sent:
        number = len(self.sent)
        name = f"storm-{self.seed}-{number}"
        self.sent.append(Sent(Signal(name, action, symbol, percent, bar(number)), broker))
        return self.sent[-1]

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=_SENDER_SECONDS, trust_env=False)

    async def _deliver(self, client: httpx.AsyncClient, sent: Sent, moment: float) -> None:
        await asyncio.sleep(moment)
        headers = {"host": HOST, "content-type": "text/plain; charset=utf-8"}
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._dice.uniform(0.5, 3.0))
            try:
                url = self._urls[sent.broker]
                answer = await client.post(url, content=sent.signal.body, headers=headers)
            except httpx.TransportError:
                sent.failures += 1
                continue
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                sent.ids.add(answer.json()["id"])
                return
            sent.failures += 1
            if answer.status_code < 500:
                return

    def audit(self) -> Audit:
        """Judge once everything has settled, or after a while as it is then."""
        keys = {
            name: self.release.owner(owner).secret(f"{name}-simulator")["apiKey"]
            for name, owner in self.brokers.items()
        }
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            with contextlib.ExitStack() as stack:
                database = stack.enter_context(self.release.database())
                url = stack.enter_context(self.release.simulator())
                accounts = {name: Account(url, key) for name, key in keys.items()}
                result = audit(Ledger(database), accounts, self.sent)
            if not result.violations or time.monotonic() > deadline:
                return result
            time.sleep(1)

    def assert_nothing_lost_or_doubled(self) -> Audit:
        """And that most alerts got through, so that there was a storm at all."""
        result = self.audit()
        # Said in words: assertions are explained by pytest in test modules alone.
        found = "; ".join(result.violations)
        answers = dict(self.answers)
        assert not found, f"{found} ({SEED_VARIABLE}={self.seed}, answers {answers})"
        answered, distinct = result.counts["signals answered 200"], len(self.sent)
        assert answered > distinct / 2, f"only {answered} of {distinct} got through"
        return result
