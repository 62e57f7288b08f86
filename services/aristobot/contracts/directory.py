"""The records in the two NATS buckets by which ingress and engine know tokens and brokers.

Whoever executes the resources (embedded platform, later the operator) writes them; ingress and
engine watch them. No secret stands in them: a token appears as its hash.
"""

from __future__ import annotations

from decimal import Decimal

from aristobot.contracts.messages import Amount, Message
from aristobot.contracts.resources import Broker, TradingMode
from aristobot.contracts.streams import BrokerKey


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
        )
