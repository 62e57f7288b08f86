"""An active strategy that never decides by itself, and decisions published in the runner's place.

So a test says when a strategy buys and sells, on a whole platform, without waiting for candles.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aristobot.cli.session import open_session
from aristobot.contracts import nats_roles
from aristobot.contracts.keys import decision_id
from aristobot.contracts.messages import Decision, Level
from aristobot.contracts.streams import DECISIONS, decision_subject
from aristobot.core.candles import Timeframe
from aristobot.core.orders import Side
from tests.harness.platform import Platform, eventually

Row = dict[str, Any]

_RESOURCES = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {name: BROKER}
spec: {exchange: binance, environment: simulator, tradingMode: strategy}
---
apiVersion: trading.aristobot.io/v1alpha1
kind: Strategy
metadata: {name: never}
spec:
  code: |
    class Never(Strategy):
        def __init__(self, candles, balance, position=None): pass
        def should_long(self): return False
        def should_short(self): return False
        def calculate_position_size(self): return 0
        def calculate_stop_loss(self): return None
        def calculate_take_profit(self): return None
---
apiVersion: trading.aristobot.io/v1alpha1
kind: ActiveStrategy
metadata: {name: NAME}
spec:
  strategyRef: {name: never}
  brokerRef: {name: BROKER}
  symbol: BTCUSDT
  timeframe: 1m
"""
#: So far away that no market of a test gets there.
_AWAY = Level(kind="fraction", value=Decimal("0.5"))


@dataclass
class Decider:
    """Decides for the active strategy `name` on `broker`."""

    platform: Platform
    broker: str
    name: str
    uid: str = field(default="")

    def apply(self) -> None:
        """Make broker and strategy, and wait for the broker's gateway."""
        self.platform.apply(_RESOURCES.replace("BROKER", self.broker).replace("NAME", self.name))

        def is_ready() -> bool:
            broker = self.platform.json("get", "brokers", self.broker, "-o", "json")
            conditions = broker.get("status", {}).get("conditions", ())
            return [c["status"] for c in conditions] == ["True"]

        eventually(is_ready, seconds=30, what="the broker's gateway")
        shown = self.platform.json("get", "activestrategies", self.name, "-o", "json")
        self.uid = shown["metadata"]["uid"]

    def decide(self, side: Side, *message_ids: str) -> Decision:
        """Publish a decision on a candle that nobody has decided on yet, once or several times."""
        close = datetime.now(UTC)
        levels = {"stop_loss": _AWAY, "take_profit": _AWAY} if side is Side.BUY else {}
        decision = Decision(
            decision_id=decision_id("demo", self.name, self.uid, close),
            owner="demo",
            broker=self.broker,
            active_strategy=self.name,
            symbol="BTCUSDT",
            timeframe=Timeframe.M1,
            candle_close=close,
            side=side,
            quote_amount=Decimal(100) if side is Side.BUY else None,
            decided_at=close,
            **levels,
        )
        asyncio.run(self._publish(decision, message_ids or (decision.decision_id,)))
        return decision

    async def _publish(self, decision: Decision, message_ids: tuple[str, ...]) -> None:
        subject = decision_subject(decision.key, decision.active_strategy)
        async with (
            open_session(self.platform.data) as session,
            session.bus(nats_roles.api()) as bus,
        ):
            for message_id in message_ids:
                await bus.publish(
                    DECISIONS, subject, decision.encode(), message_id=message_id, headers={}
                )

    def position(self) -> Row | None:
        rows = self.platform.rows(
            "SELECT * FROM positions WHERE broker = $1 AND holder = $2",
            self.broker,
            f"strategy:{self.name}",
        )
        return rows[0] if rows else None

    def held(self, state: str) -> Row:
        """The position once it is in this state."""

        def look() -> Row | None:
            row = self.position()
            return row if row is not None and row["state"] == state else None

        return eventually(look, seconds=20, what=f"the position being {state}")
