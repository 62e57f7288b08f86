"""Turns an ActiveStrategy and what it refers to into the record that services work with.

One pure function for both executors, embedded and operator. Deliberately not here: whether the
code is any good (`runner.check`), and storing.
"""

from __future__ import annotations

from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.markets import market_id
from aristobot.contracts.resources import (
    LONGEST_CODE,
    ActiveStrategy,
    Broker,
    Strategy,
    TradingMode,
)
from aristobot.core.errors import Misconfigured


class NotRunnable(Misconfigured):
    """`reason` is one CamelCase word for the Ready condition; the text says what to do."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def record_of(
    owner: str,
    active: ActiveStrategy,
    *,
    uid: str,
    generation: int,
    strategy: Strategy | None,
    broker: Broker | None,
    code: str | None = None,
) -> ActiveStrategyRecord:
    """`strategy` and `broker`: what the references name, None when it isn't there.

    `code`: what the entry that the strategy's `codeConfigMapRef` names holds, for who can read
    it. Raises `NotRunnable`.
    """
    spec = active.spec
    if strategy is None:
        raise NotRunnable(
            "StrategyNotFound",
            f"there is no Strategy {spec.strategy_ref.name}: apply it, or name another in "
            "spec.strategyRef",
        )
    if broker is None:
        raise NotRunnable(
            "BrokerNotFound",
            f"there is no Broker {spec.broker_ref.name}: apply it, or name another in "
            "spec.brokerRef",
        )
    timeframe = spec.timeframe or strategy.spec.timeframe
    if timeframe is None:
        raise NotRunnable(
            "NoTimeframe",
            "neither the ActiveStrategy nor its Strategy names a timeframe: set spec.timeframe",
        )
    code = strategy.spec.code if strategy.spec.code is not None else code
    if code is None:
        raise NotRunnable(
            "NoCode",
            "codeConfigMapRef works on Kubernetes alone: put the code into spec.code",
        )
    if len(code) > LONGEST_CODE:
        raise NotRunnable(
            "CodeTooLong",
            f"the code has {len(code)} characters, and {LONGEST_CODE} is the most: shorten it",
        )
    return ActiveStrategyRecord(
        owner=owner,
        name=active.metadata.name,
        uid=uid,
        generation=generation,
        broker=broker.metadata.name,
        market=market_id(broker.spec.exchange, broker.spec.environment),
        symbol=spec.symbol,
        timeframe=timeframe,
        strategy=strategy.metadata.name,
        code=code,
        start=spec.start,
        end=spec.end,
        active=spec.active,
        paused=spec.paused,
        history_candles=spec.history_candles,
        max_signal_age_seconds=spec.max_signal_age_seconds,
        memory_mebibytes=spec.memory_mebibytes,
        decision_seconds=spec.decision_seconds,
    )


def trading_mode_problem(broker: Broker) -> str | None:
    """Why the broker carries out no strategy's decision; None when it does."""
    mode = broker.spec.trading_mode
    if mode is TradingMode.STRATEGY:
        return None
    return (
        f"broker {broker.metadata.name} has tradingMode {mode.value}, so no decision is carried "
        "out: set it to strategy"
    )
