"""An ActiveStrategy and what it names become one record, or a reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from aristobot.contracts.active_strategies import NotRunnable, record_of, trading_mode_problem
from aristobot.contracts.directory import ActiveStrategyRecord
from aristobot.contracts.resources import (
    LONGEST_CODE,
    ActiveStrategy,
    Broker,
    Strategy,
    parse_document,
)
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured

_GROUP = "trading.aristobot.io/v1alpha1"


def _document(kind: str, name: str, **spec: Any) -> Any:
    return parse_document(
        {"apiVersion": _GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec}
    )


def strategy(**spec: Any) -> Strategy:
    document = _document("Strategy", "ema", **{"code": "x = 1", **spec})
    assert isinstance(document, Strategy)
    return document


def broker(**spec: Any) -> Broker:
    document = _document(
        "Broker", "demo", **{"exchange": "binance", "environment": "simulator", **spec}
    )
    assert isinstance(document, Broker)
    return document


def active(**spec: Any) -> ActiveStrategy:
    document = _document(
        "ActiveStrategy",
        "ema-btc",
        **{
            "strategyRef": {"name": "ema"},
            "brokerRef": {"name": "demo"},
            "symbol": "BTCUSDT",
            **spec,
        },
    )
    assert isinstance(document, ActiveStrategy)
    return document


def record(
    active: ActiveStrategy, strategy: Strategy | None, broker: Broker | None
) -> ActiveStrategyRecord:
    return record_of("me", active, uid="u", generation=3, strategy=strategy, broker=broker)


def test_the_market_is_the_brokers_and_the_timeframe_the_strategys_unless_named() -> None:
    made = record(active(), strategy(timeframe="5m"), broker())
    assert (made.market, made.timeframe) == ("binance-simulator", Timeframe.M5)
    made = record(active(timeframe="1h"), strategy(timeframe="5m"), broker())
    assert made.timeframe is Timeframe.H1
    assert ActiveStrategyRecord.model_validate_json(made.encode()) == made


@pytest.mark.parametrize(
    ("has_strategy", "has_broker", "reason"),
    [(False, True, "StrategyNotFound"), (True, False, "BrokerNotFound")],
)
def test_what_is_missing_is_named(has_strategy: bool, has_broker: bool, reason: str) -> None:
    with pytest.raises(NotRunnable) as caught:
        record(
            active(timeframe="1m"),
            strategy() if has_strategy else None,
            broker() if has_broker else None,
        )
    assert caught.value.reason == reason


def test_no_timeframe_anywhere() -> None:
    with pytest.raises(NotRunnable, match=r"spec\.timeframe"):
        record(active(), strategy(), broker())


def test_code_in_a_config_map_needs_kubernetes() -> None:
    with pytest.raises(NotRunnable, match="Kubernetes"):
        record(active(), _elsewhere(), broker())


def _elsewhere() -> Strategy:
    found = _document("Strategy", "ema", codeConfigMapRef={"name": "code"}, timeframe="1m")
    assert isinstance(found, Strategy)
    return found


def _with_code(strategy: Strategy, code: str) -> ActiveStrategyRecord:
    return record_of(
        "me", active(), uid="u", generation=3, strategy=strategy, broker=broker(), code=code
    )


def test_who_can_read_the_config_map_brings_its_code() -> None:
    assert _with_code(_elsewhere(), "x = 1").code == "x = 1"
    assert _with_code(strategy(timeframe="1m"), "x = 1").code == strategy().spec.code


def test_a_record_fits_into_a_message_whatever_its_characters() -> None:
    """NATS takes messages of up to 1 MiB."""
    fits = _with_code(_elsewhere(), "\U0001f4c8" * LONGEST_CODE)
    assert len(fits.encode()) < 2**20
    with pytest.raises(NotRunnable, match="200000 is the most") as caught:
        _with_code(_elsewhere(), "x" * (LONGEST_CODE + 1))
    assert caught.value.reason == "CodeTooLong"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"symbol": "btc/usdt"}, "spec.symbol"),
        ({"timeframe": "7m"}, "spec.timeframe"),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "spec"),
        ({"start": "2026-01-02T00:00:00"}, "spec.start"),
        ({"historyCandles": 0}, "spec.historyCandles"),
    ],
)
def test_a_wrong_field_is_named(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(Misconfigured, match=path.replace(".", r"\.")):
        active(**spec)


@pytest.mark.parametrize("mode", ["off", "webhook", "strategy"])
def test_only_a_broker_in_mode_strategy_carries_decisions_out(mode: str) -> None:
    assert (trading_mode_problem(broker(tradingMode=mode)) is None) == (mode == "strategy")
