"""`aristobot runner --strategy` as its pod runs it: one NATS user and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from decimal import Decimal

import httpx
import nats.js.errors
import pytest
from nats.aio.msg import Msg

from aristobot.contracts import nats_roles
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.messages import (
    CandlesReply,
    ClosedCandle,
    Decision,
    QueryReply,
    StrategyContext,
)
from aristobot.contracts.streams import STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET, candle_subject
from aristobot.core.candles import Timeframe
from tests.component.local.conftest import Place, eventually
from tests.component.local.nats_users import Roles, User
from tests.component.runner_service.conftest import ALWAYS_LONG, MARKET, candle

SUBJECT = candle_subject(MARKET, "BTCUSDT", Timeframe.M1)
ROLE = nats_roles.strategy_runner(
    "demo", "ema", "main", market=MARKET, symbol="BTCUSDT", timeframe=Timeframe.M1
)
RECORD = ActiveStrategyRecord(
    owner="demo",
    name="ema",
    uid="uid-ema",
    generation=1,
    broker="main",
    market=MARKET,
    symbol="BTCUSDT",
    timeframe=Timeframe.M1,
    strategy="always",
    code=ALWAYS_LONG,
    history_candles=50,
)
#: Not 127.0.0.1: a pod's probes come from outside.
ADMIN_HOST = "127.0.0.2"


@pytest.fixture
async def market(roles: Roles) -> User:
    """Gateway and engine answer for the broker; returns the heartbeat."""
    gateway = await roles.connect(nats_roles.gateway("demo", "main"))
    engine = await roles.connect(nats_roles.engine())

    async def history(message: Msg) -> None:
        candles = tuple(ClosedCandle.of(MARKET, candle(number)) for number in range(60))
        await message.respond(
            QueryReply(candles=CandlesReply(market=MARKET, candles=candles)).encode()
        )

    async def context(message: Msg) -> None:
        nothing = StrategyContext(quantity=Decimal(0), free_quote=Decimal(1000))
        await message.respond(QueryReply(context=nothing).encode())

    await gateway.client.subscribe("gateway.query.demo.main", cb=history)
    await engine.client.subscribe("engine.query.demo.main", cb=context)
    return await roles.connect(nats_roles.heartbeat())


class Pod:
    """Started again, it is the same pod."""

    def __init__(self, roles: Roles, place: Place) -> None:
        self._log = place.data / "runner.log"
        self._port = place.postgres_port
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ},
            "HOME": str(place.data),
            "ARISTOBOT_NATS_URL": place.nats_url,
            "ARISTOBOT_NATS_CREDENTIALS": str(roles.credentials(ROLE)),
            "ARISTOBOT_ADMIN_HOST": ADMIN_HOST,
            "ARISTOBOT_ADMIN_PORT": str(self._port),
            "ARISTOBOT_ALLOW_UNSEALED": os.environ.get("ARISTOBOT_ALLOW_UNSEALED", ""),
        }

    async def start(self) -> Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "aristobot", "runner", "--strategy", "demo.ema"),
                env=self._environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
            )

    async def problems(self) -> list[str] | None:
        """What /readyz says; None while nobody answers."""
        async with httpx.AsyncClient(trust_env=False) as client:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get(f"http://{ADMIN_HOST}:{self._port}/readyz")
                problems: list[str] = answer.json()["problems"]
                return problems
        return None

    @property
    def log(self) -> str:
        return self._log.read_text()


async def test_a_restarted_pod_goes_on_where_it_was(
    roles: Roles, market: User, place: Place
) -> None:
    admin = await roles.connect(nats_roles.admin())
    records = await admin.js.key_value(STRATEGIES_BUCKET)
    statuses = await admin.js.key_value(STRATEGY_STATUS_BUCKET)
    await records.put("demo.other", RECORD.model_copy(update={"name": "other"}).encode())
    pod = Pod(roles, place)

    async def says(*problems: str) -> bool:
        return await pod.problems() == list(problems)

    async def is_running() -> bool:
        with contextlib.suppress(nats.js.errors.KeyNotFoundError):
            return b'"Running"' in ((await statuses.get("demo.ema")).value or b"")
        return False

    async def decided(count: int) -> bool:
        return (await admin.js.stream_info("DECISIONS")).state.messages == count

    async def close_candle(number: int) -> None:
        closed = ClosedCandle.of(MARKET, candle(number))
        await market.js.publish(SUBJECT, closed.encode(), headers={"Nats-Msg-Id": str(number)})

    process = await pod.start()
    try:
        await eventually(lambda: says("there is no record of demo.ema"), within_seconds=20)
        await records.put("demo.ema", RECORD.encode())
        await eventually(is_running, within_seconds=20)
        assert await pod.problems() == []
        await close_candle(60)
        await eventually(lambda: decided(1), within_seconds=20)

        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await close_candle(61)
        process = await pod.start()
        await eventually(lambda: decided(2), within_seconds=30)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 10)
    for number, close in ((1, candle(60).close_time), (2, candle(61).close_time)):
        stored = await admin.js.get_msg("DECISIONS", number)
        decision = Decision.model_validate_json(stored.data or b"")
        assert stored.subject == "strategies.decided.demo.main.ema"
        assert decision.candle_close == close
    # The other strategy is another pod's, and the server had nothing to refuse.
    with pytest.raises(nats.js.errors.KeyNotFoundError):
        await statuses.get("demo.other")
    assert [each.name for each in await admin.js.consumers_info("CANDLES")] == ["runner_demo_ema"]
    assert "permissions violation" not in pod.log.lower()
