"""A runner on a real NATS, with sealed processes; engine and gateway are answered for by the test.

What the two answer is fixed by the test, so what is seen is the runner's own doing; that they fit
together is for the tests in `tests/e2e`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pytest

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.keys import candle_id
from aristobot.contracts.messages import (
    CandlesQuery,
    CandlesReply,
    ClosedCandle,
    Decision,
    QueryEnvelope,
    QueryReply,
    StrategyContext,
    StrategyStatus,
)
from aristobot.contracts.streams import (
    CANDLES,
    DECISIONS,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    BrokerKey,
    candle_subject,
    engine_query_subject,
    query_subject,
)
from aristobot.core.candles import Candle, Timeframe
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus, Delivery
from aristobot.runner.service import Runner
from tests.harness.servers import nats_server

_Seen = TypeVar("_Seen")
_Wanted = TypeVar("_Wanted")

MARKET = "binance-simulator"
START = datetime(2026, 1, 1, tzinfo=UTC)

ALWAYS_LONG = """
class Always(Strategy):
    def __init__(self, candles, balance, position=None):
        self.candles, self.balance, self.position = candles, balance, position
    def should_long(self): return True
    def should_short(self): return True
    def calculate_position_size(self): return self.balance * 0.1
    def calculate_stop_loss(self): return 0.02
    def calculate_take_profit(self): return 0.04
"""


def candle(number: int, close: str = "100") -> Candle:
    price = Decimal(close)
    return Candle(
        symbol="BTCUSDT",
        timeframe=Timeframe.M1,
        open_time=START + timedelta(minutes=number),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=Decimal(1),
        quote_volume=price,
        trades=1,
    )


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@dataclass
class Surroundings:
    """What the runner meets: a broker with an engine and a gateway that answer as told."""

    bus: Bus
    key: BrokerKey
    context: StrategyContext
    history: int = 60
    wanted: dict[str, ActiveStrategyRecord] = field(default_factory=dict)
    asked: int = 0

    def record(self, name: str, code: str = ALWAYS_LONG, **changes: object) -> ActiveStrategyRecord:
        return ActiveStrategyRecord(
            owner=self.key.owner,
            name=name,
            uid=f"uid-{name}",
            generation=1,
            broker=self.key.broker,
            market=MARKET,
            symbol="BTCUSDT",
            timeframe=Timeframe.M1,
            strategy="always",
            code=code,
            history_candles=50,
            max_signal_age_seconds=60,
        ).model_copy(update=changes)

    async def want(self, *records: ActiveStrategyRecord) -> None:
        self.wanted = {f"{each.owner}.{each.name}": each for each in records}
        await Bucket(self.bus, STRATEGIES_BUCKET).make_equal(
            {key: each.encode() for key, each in self.wanted.items()}
        )

    async def close_candle(self, number: int, *, copy: str = "", **marks: object) -> None:
        """`copy`: it comes again, as to whoever follows a runner that died before its ack."""
        closed = ClosedCandle.of(MARKET, candle(number)).model_copy(update=marks)
        await self.bus.publish(
            CANDLES,
            candle_subject(MARKET, "BTCUSDT", Timeframe.M1),
            closed.encode(),
            # The market is shared by the tests: each has candles of its own.
            message_id=f"{self.key}:{candle_id(MARKET, candle(number))}{copy}",
            headers={},
        )

    async def statuses(self) -> dict[str, StrategyStatus]:
        found = await Bucket(self.bus, STRATEGY_STATUS_BUCKET).read()
        return {
            key.partition(".")[2]: StrategyStatus.model_validate_json(value)
            for key, value in found.items()
            if key.startswith(f"{self.key.owner}.")
        }

    async def status(self, name: str, reason: str) -> StrategyStatus:
        """The strategy's status, once it has this reason."""

        def accept(found: dict[str, StrategyStatus]) -> StrategyStatus | None:
            return found[name] if name in found and found[name].reason == reason else None

        return await eventually(self.statuses, accept)

    async def decisions(self, count: int, *, settle_seconds: float = 0.0) -> list[Decision]:
        """All decisions of this broker, once there are `count`; and no more a moment later."""
        found: dict[int, Decision] = {}
        enough = asyncio.Event()

        async def take(delivery: Delivery) -> None:
            found[delivery.sequence] = Decision.model_validate_json(delivery.data)
            if len(found) >= count:
                enough.set()

        reading = asyncio.create_task(
            self.bus.consume(
                DECISIONS,
                f"strategies.decided.{self.key}.*",
                f"test-{secrets.token_hex(4)}",
                take,
            )
        )
        try:
            if count:
                async with asyncio.timeout(30):
                    await enough.wait()
            await asyncio.sleep(settle_seconds)
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        return [found[sequence] for sequence in sorted(found)]


async def eventually(
    look: Callable[[], Awaitable[_Seen]], accept: Callable[[_Seen], _Wanted | None]
) -> _Wanted:
    async with asyncio.timeout(40):
        while (accepted := accept(await look())) is None:
            await asyncio.sleep(0.1)
    return accepted


@pytest.fixture
async def around(nats_url: str) -> AsyncIterator[Surroundings]:
    bus = await Bus.connect(nats_url, name="test", timeout_seconds=20)
    key = BrokerKey(f"owner-{secrets.token_hex(4)}", "main")
    around = Surroundings(
        bus=bus, key=key, context=StrategyContext(quantity=Decimal(0), free_quote=Decimal(1000))
    )

    async def gateway(data: bytes, _: Mapping[str, str]) -> bytes:
        query = QueryEnvelope.model_validate_json(data).query
        assert isinstance(query, CandlesQuery)
        candles = [candle(number) for number in range(around.history)]
        chosen = [
            each
            for each in candles
            if (query.start is None or each.open_time >= query.start)
            and (query.end is None or each.open_time < query.end)
        ][-query.limit :]
        reply = CandlesReply(
            market=MARKET, candles=tuple(ClosedCandle.of(MARKET, each) for each in chosen)
        )
        return QueryReply(candles=reply).encode()

    async def engine(_: bytes, __: Mapping[str, str]) -> bytes:
        around.asked += 1
        return QueryReply(context=around.context).encode()

    served = asyncio.Event()

    async def serve() -> None:
        async with asyncio.TaskGroup() as tasks:
            await bus.serve(query_subject(key), gateway, tasks)
            await bus.serve(engine_query_subject(key), engine, tasks)
            served.set()

    serving = asyncio.create_task(serve())
    await served.wait()
    yield around
    serving.cancel()
    await asyncio.wait([serving])
    await around.want()
    await bus.close()


@contextlib.asynccontextmanager
async def running_runner(nats_url: str) -> AsyncIterator[Runner]:
    bus = await Bus.connect(nats_url, name="runner", timeout_seconds=20)
    runner = Runner(bus)
    running = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=10)
        await bus.close()
