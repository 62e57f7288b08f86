"""Heartbeats as processes of their own, with everything that they need, all of it real.

NATS, PostgreSQL, a simulator at speed, and a gateway that answers for its candles. Everything is
started by the `aristobot` command and can be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.messages import ClosedCandle
from aristobot.contracts.resources import TradingMode
from aristobot.contracts.streams import BROKERS_BUCKET, CANDLES, STRATEGIES_BUCKET
from aristobot.core.candles import Timeframe
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from tests.harness.servers import free_port, nats_server, postgres_server

MARKET = "binance-simulator"
API_KEY, API_SECRET = "heartbeat-test-key", "heartbeat-test-secret"


@dataclass
class Scene:
    """The parts of one market. `pids` are those of the processes that run now."""

    folder: Path
    nats_url: str
    database_url: str
    simulator_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    #: When each part was started last.
    started: dict[str, datetime] = field(default_factory=dict)

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator_port}"

    def start(self, part: str, *arguments: str, admin_port: int | None = None) -> None:
        """Run `aristobot <arguments>` as `part`."""
        address = f"127.0.0.1:{self.simulator_port}"
        environment = {
            **os.environ,
            "ARISTOBOT_NATS_URL": self.nats_url,
            "ARISTOBOT_DATABASE_URL": self.database_url,
            "ARISTOBOT_MARKET_URL": f"ws://{address}",
            "ARISTOBOT_EXCHANGE": "binance",
            "ARISTOBOT_EXCHANGE_ENVIRONMENT": "simulator",
            "ARISTOBOT_EXCHANGE_URL": f"http://{address}",
            "ARISTOBOT_API_KEY": API_KEY,
            "ARISTOBOT_API_SECRET": API_SECRET,
        }
        if admin_port is not None:
            environment["ARISTOBOT_ADMIN_PORT"] = str(admin_port)
        self.started[part] = datetime.now(UTC)
        with (self.folder / f"{part}.log").open("ab") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", "aristobot", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def kill(self, part: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.processes.pop(part)
        process.kill()
        process.wait(10)

    def stop(self, part: str) -> int:
        """SIGTERM; the exit code."""
        process = self.processes.pop(part)
        process.terminate()
        return process.wait(10)

    def start_market(self, *arguments: str) -> None:
        """The simulator, and a gateway that answers for its candles."""
        state = ("--state", str(self.folder / "simulator"))
        self.start("simulator", "simulator", "--port", str(self.simulator_port), *state, *arguments)
        self._wait_for("/api/v3/ping")
        httpx.put(
            f"{self.simulator_url}/control/accounts/{API_KEY}",
            json={"secret": API_SECRET, "balances": {"USDT": "1000"}},
            trust_env=False,
        ).raise_for_status()
        self.start("gateway", "gateway", "--broker", "demo.demo")
        record = BrokerRecord(
            owner="demo",
            broker="demo",
            exchange="binance",
            trading_mode=TradingMode.OFF,
            market=MARKET,
        )

        async def work() -> None:
            bus = await Bus.connect(self.nats_url, name="test", timeout_seconds=20)
            await Bucket(bus, BROKERS_BUCKET).make_equal({str(record.key): record.encode()})
            await bus.close()

        asyncio.run(work())

    def activate_strategy(self, symbol: str) -> None:
        """Let there be an active strategy on `symbol` of this market."""
        record = ActiveStrategyRecord(
            owner="demo",
            name="following",
            uid="1",
            generation=1,
            broker="demo",
            market=MARKET,
            symbol=symbol,
            timeframe=Timeframe.M1,
            strategy="any",
            code="",
        )

        async def work() -> None:
            bus = await Bus.connect(self.nats_url, name="test", timeout_seconds=20)
            key = f"{record.owner}.{record.name}"
            await Bucket(bus, STRATEGIES_BUCKET).make_equal({key: record.encode()})
            await bus.close()

        asyncio.run(work())

    def market_speed(self, speed: float) -> None:
        """From now on the market's time runs so fast; 0: not at all."""
        httpx.post(
            f"{self.simulator_url}/control/market",
            json={"speed": speed},
            timeout=10,
            trust_env=False,
        ).raise_for_status()

    def _wait_for(self, path: str) -> None:
        give_up_at = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(self.simulator_url + path, trust_env=False).status_code == 200:
                    return
            assert time.monotonic() < give_up_at, (self.folder / "simulator.log").read_text()
            time.sleep(0.05)

    def start_heartbeat(self, replica: str, *symbols: str, admin_port: int | None = None) -> None:
        self.start(
            replica,
            *("heartbeat", "--market", MARKET, "--replica", replica),
            *(("--symbols", ",".join(symbols)) if symbols else ()),
            admin_port=admin_port,
        )

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        async def work() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(self.database_url, timeout=10)
            try:
                return [dict(row) for row in await connection.fetch(query, *values, timeout=30)]
            finally:
                await connection.close()

        return asyncio.run(work())

    def published_count(self) -> int:
        """How many candles the stream holds."""

        async def work() -> int:
            client = await nats.connect(self.nats_url)
            try:
                info = await client.jetstream().stream_info(CANDLES.name)
                return int(info.state.messages)
            finally:
                await client.close()

        return asyncio.run(work())

    def published(self) -> list[ClosedCandle]:
        """Everything that the stream CANDLES holds, in its order."""

        async def work() -> list[ClosedCandle]:
            client = await nats.connect(self.nats_url)
            try:
                context = client.jetstream()
                count = (await context.stream_info(CANDLES.name)).state.messages
                pull = await context.pull_subscribe(
                    CANDLES.subjects[0],
                    stream=CANDLES.name,
                    config=ConsumerConfig(
                        deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE
                    ),
                )
                found: list[ClosedCandle] = []
                while len(found) < count:
                    batch = await pull.fetch(min(1000, count - len(found)), timeout=5)
                    found += [ClosedCandle.model_validate_json(message.data) for message in batch]
                return found
            finally:
                await client.close()

        return asyncio.run(work())

    def klines(self, symbol: str, interval: str) -> list[list[Any]]:
        """The exchange's own newest candles."""
        answer = httpx.get(
            f"{self.simulator_url}/api/v3/klines",
            params={"symbol": symbol, "interval": interval, "limit": 1000},
            timeout=10,
            trust_env=False,
        )
        answer.raise_for_status()
        rows: list[list[Any]] = answer.json()
        return rows

    def log_lines(self, part: str) -> list[dict[str, Any]]:
        text = (self.folder / f"{part}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """NATS and PostgreSQL run; everything else is started by the test."""
    folder = tmp_path_factory.mktemp("heartbeat")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # PostgreSQL gives up root and must be able to walk to its data
    (folder / "nats").mkdir()
    with nats_server(folder / "nats") as nats_url, postgres_server(folder) as database_url:
        scene = Scene(folder, nats_url, database_url)
        try:
            yield scene
        finally:
            scene.close()
