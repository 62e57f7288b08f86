"""Alerts in, orders out, while every part of the platform is killed again and again.

`python -m tests.fault.chaos --alerts 2000 --brokers 4` is the long form (`make chaos`); a short
one is a test. Alerts are sent as TradingView sends them: cut off after 3 s, sent again after a 5xx
or a broken connection up to three times, and a fifth of them are exact copies of earlier ones.
Meanwhile ingress, engine, gateways, NATS and PostgreSQL are killed with SIGKILL at random moments.
What must hold in the end is in `chaos_audit`. Exit code 1, with the seed, when it doesn't.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fault.chaos_audit import Audit, Kill, audit, recoveries
from tests.fault.ledger import Account, Ledger, Signal, bar
from tests.harness.platform import Platform, free_port_base

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
SERVERS = ("ingress", "engine", "nats", "postgres")
_ATTEMPTS = 4
_SENDER_SECONDS = 3.0
_BROKER = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {{name: {name}}}
spec:
  exchange: binance
  environment: simulator
  tradingMode: webhook
  webhook: {{maxSignalAgeSeconds: 0}}
  simulator: {{balances: {{USDT: 1000000}}}}
---
"""
#: What the exchange does to a request now and then, in the long form.
_EXCHANGE_FAULTS = (
    {"kind": "answer_lost", "times": None, "probability": 0.01},
    {"kind": "error_5xx", "times": None, "probability": 0.003, "accepted": True},
    {"kind": "partial_fill", "times": None, "probability": 0.02, "seconds": 0.5},
    {"kind": "slow_answer", "times": None, "probability": 0.01, "seconds": 0.5},
)


@dataclass(frozen=True, slots=True)
class Options:
    """`kills` of each server, `gateway_kills` of each gateway; `rate` in alerts a second."""

    alerts: int
    brokers: int
    kills: int
    gateway_kills: int
    rate: float
    seed: int
    exchange_faults: bool = False
    settle_seconds: float = 90.0


@dataclass
class Sent:
    """A signal on its way: who it goes to, and what its sender was told, copy by copy."""

    signal: Signal
    broker: str
    ids: set[str] = field(default_factory=set)
    failures: int = 0
    copies: int = 0


class Chaos:
    """One run on a platform of its own. `tick` is called for every alert that was dealt with."""

    def __init__(self, options: Options, folder: Path, tick: Callable[[], None]) -> None:
        self._options = options
        self._dice = random.Random(options.seed)
        self._platform = Platform(folder / "data", free_port_base(), ("--no-demo",))
        self._tick = tick
        self._brokers = [f"c{number}" for number in range(options.brokers)]
        self._urls: dict[str, str] = {}
        self.sent: list[Sent] = []
        self.kills: list[Kill] = []
        self.answers: list[tuple[float, int]] = []

    def run(self) -> Audit:
        try:
            self._platform.start()
            self._prepare()
            asyncio.run(self._storm())
            return self._audit()
        finally:
            self._platform.stop()

    def _prepare(self) -> None:
        self._platform.apply("".join(_BROKER.format(name=name) for name in self._brokers))
        wanted = {f"gateway-demo.{name}" for name in self._brokers}
        deadline = time.monotonic() + 60
        while not wanted <= {row["part"] for row in self._parts() if row["state"] == "ready"}:
            assert time.monotonic() < deadline, "the gateways do not get ready"
            time.sleep(0.1)
        self._urls = {name: self._platform.webhook_url(name) for name in self._brokers}
        # The limits are another test's; all gateways share one address here.
        httpx.put(
            f"{self._platform.simulator_url}/control/limits",
            json={"weight_per_minute": 1_000_000, "orders_per_10_seconds": 100_000},
            timeout=10,
            trust_env=False,
        ).raise_for_status()
        if self._options.exchange_faults:
            for fault in _EXCHANGE_FAULTS:
                self._platform.fault(**fault)

    def _parts(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(
            (self._platform.data / "run" / "parts").read_text()
        )
        return rows

    def _signals(self) -> list[Sent]:
        """Distinct signals: first a large buy of each pair, then small buys and sales, mixed."""
        count = self._options.alerts - self._options.alerts // 5
        signals = []
        for number in range(count):
            broker = self._brokers[number % len(self._brokers)]
            turn = number // len(self._brokers)
            symbol = SYMBOLS[turn % len(SYMBOLS)]
            if turn < len(SYMBOLS):
                action, percent = "BuyMarket", "10"
            elif self._dice.random() < 0.5:
                action, percent = "BuyMarket", "0.2"
            else:
                action, percent = "SellMarket", "2"
            name = f"chaos-{self._options.seed}-{number}"
            signals.append(Sent(Signal(name, action, symbol, percent, bar(number)), broker))
        return signals

    async def _storm(self) -> None:
        """Send everything, and kill until everything is sent."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
        async with httpx.AsyncClient(
            timeout=_SENDER_SECONDS, trust_env=False, limits=limits
        ) as client:
            self.sent = self._signals()
            # Before anything is killed: no sale may come before there is something to sell.
            first = self.sent[: len(SYMBOLS) * len(self._brokers)]
            await asyncio.gather(*(self._deliver(client, sent, 0.0) for sent in first))
            seconds = self._options.alerts / self._options.rate
            killing = asyncio.create_task(self._kill_all(seconds), name="killing")
            async with asyncio.TaskGroup() as tasks:
                for sent, moment in self._schedule(len(first), seconds):
                    tasks.create_task(self._deliver(client, sent, moment))
            await killing

    def _schedule(self, already: int, seconds: float) -> list[tuple[Sent, float]]:
        """When each further alert is sent; copies come after what they are copies of."""
        firsts = [(sent, 0.0) for sent in self.sent[:already]]
        rest = self.sent[already:]
        moments = sorted(self._dice.uniform(0.0, seconds) for _ in rest)
        originals = [*firsts, *zip(rest, moments, strict=True)]
        copies = []
        for _ in range(self._options.alerts // 5):
            sent, moment = self._dice.choice(originals)
            sent.copies += 1
            copies.append((sent, moment + self._dice.expovariate(1 / 4.0)))
        return [*originals[already:], *copies]

    async def _deliver(self, client: httpx.AsyncClient, sent: Sent, moment: float) -> None:
        await asyncio.sleep(moment)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._dice.uniform(0.3, 2.0))
            try:
                answer = await client.post(
                    self._urls[sent.broker],
                    content=sent.signal.body,
                    headers={"content-type": "text/plain; charset=utf-8"},
                )
            except httpx.TransportError:
                sent.failures += 1
                continue
            self.answers.append((time.time(), answer.status_code))
            if answer.status_code == 200:
                sent.ids.add(answer.json()["id"])
                break
            sent.failures += 1
            if answer.status_code != 503:
                break
        self._tick()

    async def _kill_all(self, seconds: float) -> None:
        gateways = [f"gateway-demo.{name}" for name in self._brokers]
        victims = [*SERVERS] * self._options.kills + gateways * self._options.gateway_kills
        self._dice.shuffle(victims)
        moments = sorted(self._dice.uniform(0.5, seconds) for _ in victims)
        started = time.monotonic()
        for part, moment in zip(victims, moments, strict=True):
            await asyncio.sleep(max(0.0, started + moment - time.monotonic()))
            await self._kill(part)

    async def _kill(self, part: str) -> None:
        """SIGKILL the part; one that is just being started again is waited for."""
        for _ in range(200):
            for row in self._parts():
                if row["part"] == part and isinstance(row["pid"], int):
                    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                        assert self._platform.process is not None
                        family = psutil.Process(self._platform.process.pid).children(recursive=True)
                        if row["pid"] in {member.pid for member in family}:
                            self.kills.append(Kill(part, time.time()))
                            os.kill(row["pid"], signal.SIGKILL)
                            return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{part} is not started again within 10 s")

    def _audit(self) -> Audit:
        ledger = Ledger.of(self._platform)
        accounts = {name: Account.of(self._platform, name) for name in self._brokers}
        deadline = time.monotonic() + self._options.settle_seconds
        while True:
            result = audit(ledger, accounts, self.sent)
            if not result.violations or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        result.recoveries = recoveries(ledger, self.kills, self.answers)
        result.kills = len(self.kills)
        result.answers = len(self.answers)
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--alerts", type=int, default=2000)
    parser.add_argument("--brokers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=6, help="of each part")
    parser.add_argument("--rate", type=float, default=15.0, help="alerts a second")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--exchange-faults", action="store_true", help="the exchange errs as well")
    parser.add_argument("--data", type=Path, help="keep the platform's folder here")
    arguments = parser.parse_args()
    options = Options(
        alerts=arguments.alerts,
        brokers=arguments.brokers,
        kills=arguments.kills,
        gateway_kills=arguments.kills,
        rate=arguments.rate,
        seed=arguments.seed,
        exchange_faults=arguments.exchange_faults,
    )
    console = Console()
    console.print(f"seed {options.seed}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="aristobot-chaos-") as folder,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("alerts", total=options.alerts)
        chaos = Chaos(options, arguments.data or Path(folder), lambda: progress.advance(task))
        result = chaos.run()
    console.print(result.table())
    for violation in result.violations[:50]:
        console.print(violation, style="red", markup=False)
    if result.violations:
        console.print(f"{len(result.violations)} violations; seed {options.seed}", style="red")
        return 1
    console.print("nothing lost, nothing doubled", style="green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
