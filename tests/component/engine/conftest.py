"""The engine on real servers, with a real gateway and the simulator behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.keys import decision_id
from aristobot.contracts.messages import Decision, StrategyContext, strategy_holder
from aristobot.contracts.resources import TradingMode
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    DECISIONS,
    STRATEGIES_BUCKET,
    decision_subject,
)
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Retryable
from aristobot.core.orders import Side
from aristobot.core.positions import Position
from aristobot.engine import repository
from aristobot.engine.service import Engine
from aristobot.platform.buckets import Bucket
from aristobot.platform.tables import decisions
from aristobot.runner.engine_client import strategy_context

# Fixtures are found by name: these are the gateway tests' own.
from tests.component.gateway.conftest import (  # noqa: F401
    SYMBOL,
    Desk,
    Row,
    desk,
    eventually,
    nats_url,
    postgres_url,
    simulator_origin,
)

NAME = "ema-btc"
_FIRST_CLOSE = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass
class Trading:
    """An engine, a broker in strategy mode with its gateway, and one active strategy."""

    desk: Desk
    engine: Engine
    strategy: ActiveStrategyRecord
    candles: int = 0
    _task: asyncio.Task[None] | None = field(default=None)

    async def start(self) -> None:
        await self.know(self.strategy)
        self._task = asyncio.create_task(self.engine.run())

        async def answers() -> bool:
            try:
                await self.context()
            except Retryable:
                return False
            return True

        await eventually(answers, what="engine and gateway answering")

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def know(
        self, *strategies: ActiveStrategyRecord, brokers: Sequence[str] = ("main",)
    ) -> None:
        """Put these records, and no other, into the buckets."""
        records = [
            BrokerRecord(
                owner=self.desk.key.owner,
                broker=name,
                exchange="binance",
                trading_mode=TradingMode.STRATEGY,
            )
            for name in brokers
        ]
        await Bucket(self.desk.bus, BROKERS_BUCKET).make_equal(
            {str(record.key): record.encode() for record in records}
        )
        await Bucket(self.desk.bus, STRATEGIES_BUCKET).make_equal(
            {f"{s.owner}.{s.name}": s.encode() for s in strategies}
        )

    def decision(
        self, side: Side, *, of: ActiveStrategyRecord | None = None, **changes: Any
    ) -> Decision:
        """A strategy's decision on the next candle."""
        self.candles += 1
        strategy = of or self.strategy
        close = _FIRST_CLOSE + timedelta(minutes=self.candles)
        fields: dict[str, Any] = {
            "decision_id": decision_id(strategy.owner, strategy.name, strategy.uid, close),
            "owner": strategy.owner,
            "broker": strategy.broker,
            "active_strategy": strategy.name,
            "symbol": SYMBOL,
            "timeframe": Timeframe.M1,
            "candle_close": close,
            "side": side,
            "quote_amount": Decimal(1000) if side is Side.BUY else None,
            "decided_at": datetime.now(UTC),
        }
        return Decision.model_validate(fields | changes)

    async def publish(self, decision: Decision, *, message_id: str | None = None) -> Decision:
        await self.desk.bus.publish(
            DECISIONS,
            decision_subject(decision.key, decision.active_strategy),
            decision.encode(),
            message_id=message_id or decision.decision_id,
            headers={},
        )
        return decision

    async def rows(self) -> list[Row]:
        """Every decision that is recorded, in the order of recording."""
        owner = self.desk.key.owner
        query = select(decisions).where(decisions.c.owner == owner)
        async with self.desk.database.transaction(owner) as connection:
            found = await connection.execute(query.order_by(decisions.c.processed_at))
            return [dict(row) for row in found.mappings()]

    async def recorded(self, count: int) -> list[Row]:
        async def look() -> list[Row] | None:
            found = await self.rows()
            return found if len(found) >= count else None

        return await eventually(look, what=f"{count} recorded decisions")

    async def position(self) -> Position:
        holding = repository.Holding(self.desk.key, SYMBOL, strategy_holder(NAME))
        async with self.desk.database.transaction(self.desk.key.owner) as connection:
            return await repository.read_position(connection, holding)

    async def until(self, state: str) -> Position:
        async def look() -> Position | None:
            position = await self.position()
            return position if position.state.value == state else None

        return await eventually(look, what=f"the position being {state}")

    async def context(self) -> StrategyContext:
        return await strategy_context(
            self.desk.bus, self.desk.key, active_strategy=NAME, symbol=SYMBOL
        )


@pytest.fixture
async def trading(desk: Desk) -> AsyncIterator[Trading]:  # noqa: F811
    strategy = ActiveStrategyRecord(
        owner=desk.key.owner,
        name=NAME,
        uid="the-first",
        generation=1,
        broker=desk.key.broker,
        market="binance-simulator",
        symbol=SYMBOL,
        timeframe=Timeframe.M1,
        strategy="ema",
        code="",
    )
    trading = Trading(desk, Engine(desk.bus, desk.database), strategy)
    await trading.start()
    try:
        yield trading
    finally:
        await trading.stop()
