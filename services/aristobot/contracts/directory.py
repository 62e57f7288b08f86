"""The records in the NATS buckets by which services know tokens, brokers and strategies.

Whoever executes the resources (embedded platform, later the operator) writes them; ingress and
engine watch them. No secret stands in them: a token appears as its hash.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal

from aristobot.contracts.markets import market_id
from aristobot.contracts.messages import Amount, Message, StrategyPhase, StrategyStatus
from aristobot.contracts.resources import Broker, TradingMode
from aristobot.contracts.streams import BrokerKey
from aristobot.core.candles import Timeframe


class TokenRecord(Message):
    """Whose token. `broker` None: it is the owner's, and `UserExchangeID` names the broker."""

    owner: str
    broker: str | None = None


class BrokerRecord(Message):
    """What ingress and engine need to know of a broker."""

    owner: str
    broker: str
    exchange: str
    number: int | None = None
    trading_mode: TradingMode
    allow_repeated_signals: bool = False
    max_signal_age_seconds: int = 300
    max_order_notional: Amount | None = None
    market: str = "binance"

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)

    @classmethod
    def of(cls, owner: str, broker: Broker) -> BrokerRecord:
        spec = broker.spec
        limit: Decimal | None = spec.risk.max_order_notional
        return cls(
            owner=owner,
            broker=broker.metadata.name,
            exchange=spec.exchange.value,
            number=spec.number,
            trading_mode=spec.trading_mode,
            allow_repeated_signals=spec.webhook.allow_repeated_signals,
            max_signal_age_seconds=spec.webhook.max_signal_age_seconds,
            max_order_notional=limit,
            market=market_id(spec.exchange, spec.environment),
        )


class ActiveStrategyRecord(Message):
    """What heartbeat, runner and engine need to know of an active strategy.

    `uid`: made when the resource came to be, so that a later one of the same name is another one.
    """

    owner: str
    name: str
    uid: str
    generation: int
    broker: str
    market: str
    symbol: str
    timeframe: Timeframe
    strategy: str
    code: str
    start: datetime | None = None
    end: datetime | None = None
    active: bool = True
    paused: bool = False
    history_candles: int = 200
    max_signal_age_seconds: int = 60
    memory_mebibytes: int = 256
    decision_seconds: float = 5.0

    @property
    def key(self) -> BrokerKey:
        return BrokerKey(self.owner, self.broker)

    @property
    def strategy_digest(self) -> str:
        """Of what its Strategy says, of which a change is none of the resource's `generation`."""
        return hashlib.sha256(f"{self.timeframe}\n{self.code}".encode()).hexdigest()[:16]

    def say(self, phase: StrategyPhase, reason: str, message: str) -> StrategyStatus:
        """A word on it."""
        return StrategyStatus(
            owner=self.owner,
            active_strategy=self.name,
            uid=self.uid,
            generation=self.generation,
            strategy_digest=self.strategy_digest,
            phase=phase,
            reason=reason,
            message=message,
        )

    def is_meant_by(self, status: StrategyStatus) -> bool:
        """Whether that was said of it as it is now, with the code that it has now."""
        said = (status.uid, status.generation, status.strategy_digest)
        return said == (self.uid, self.generation, self.strategy_digest)

    def is_in_window(self, moment: datetime) -> bool:
        """Whether a candle that closed at `moment` may be acted on."""
        after_start = self.start is None or moment >= self.start
        return after_start and (self.end is None or moment < self.end)
