"""What may become of a strategy's decision: every rule, and the reason that the user reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.keys import decision_command_id, decision_id, manual_decision_id
from aristobot.contracts.messages import (
    AskedBy,
    Decision,
    Level,
    QuantityRuleMessage,
    SizingReply,
    SymbolRulesMessage,
)
from aristobot.contracts.resources import TradingMode
from aristobot.core.candles import Timeframe
from aristobot.core.orders import OrderType, Side
from aristobot.core.positions import Exit, Position, PositionState, begin_buy
from aristobot.engine.decision import Outcome
from aristobot.engine.strategy_decision import Actionable, Ruling, judge, rule

CLOSE = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
NOW = CLOSE + timedelta(seconds=1)
STEP = Decimal("0.00001")
RULE = QuantityRuleMessage(minimum=STEP, maximum=Decimal(9), step=STEP)
PRICE = Decimal(50_000)
HELD = Position(PositionState.OPEN, bought=Decimal("0.0200049"), spent=Decimal(1000), dust=STEP)


def account(
    free_quote: int = 1000, free_base: Decimal = Decimal(1), **rules: object
) -> SizingReply:
    fields: dict[str, object] = {
        "symbol": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "is_trading": True,
        "limit": RULE,
        "market": RULE,
        "price_tick": Decimal("0.01"),
        "min_notional": Decimal(5),
        "min_notional_for_market": True,
        "max_notional_for_market": False,
        "quote_precision": 2,
        "market_by_quote": True,
    }
    return SizingReply(
        rules=SymbolRulesMessage.model_validate(fields | rules),
        free_base=free_base,
        free_quote=Decimal(free_quote),
        price=PRICE,
    )


def strategy(**changes: object) -> ActiveStrategyRecord:
    fields: dict[str, object] = {
        "owner": "demo",
        "name": "ema-btc",
        "uid": "u-1",
        "generation": 1,
        "broker": "main",
        "market": "binance-simulator",
        "symbol": "BTCUSDT",
        "timeframe": "1m",
        "strategy": "ema",
        "code": "",
    }
    return ActiveStrategyRecord.model_validate(fields | changes)


def broker(mode: TradingMode = TradingMode.STRATEGY, **changes: object) -> BrokerRecord:
    fields: dict[str, object] = {
        "owner": "demo",
        "broker": "main",
        "exchange": "binance",
        "trading_mode": mode,
    }
    return BrokerRecord.model_validate(fields | changes)


def decision(side: Side = Side.BUY, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "decision_id": decision_id("demo", "ema-btc", "u-1", CLOSE),
        "owner": "demo",
        "broker": "main",
        "active_strategy": "ema-btc",
        "symbol": "BTCUSDT",
        "timeframe": Timeframe.M1,
        "candle_close": CLOSE,
        "side": side,
        "quote_amount": Decimal(100) if side is Side.BUY else None,
        "decided_at": NOW,
    }
    return Decision.model_validate(fields | changes)


def by_hand(side: Side = Side.SELL, **changes: Any) -> Decision:
    own_id = manual_decision_id("demo", "ema-btc", "main", "BTCUSDT", NOW)
    fields = {"decision_id": own_id, "asked_by": AskedBy.MANUAL, "quote_amount": None}
    return decision(side, **(fields | changes))


def actionable(what: Decision, **more: Any) -> Actionable:
    judged = judge(what, strategy(), broker(**more), NOW)
    assert isinstance(judged, Actionable), judged
    return judged


@pytest.mark.parametrize(
    ("what", "of", "outcome", "code", "is_proven"),
    [
        (decision(), None, Outcome.REJECTED, "unknown_strategy", False),
        (decision(decision_id="made-up"), strategy(), Outcome.REJECTED, "foreign_id", False),
        # A later strategy of the same name is another one.
        (decision(), strategy(uid="u-2"), Outcome.REJECTED, "foreign_id", False),
        # An id belongs to one candle.
        (decision(candle_close=NOW), strategy(), Outcome.REJECTED, "foreign_id", False),
        (decision(asked_by=AskedBy.WEBHOOK), strategy(), Outcome.REJECTED, "foreign_id", False),
        (decision(symbol="ETHUSDT"), strategy(), Outcome.REJECTED, "not_its_market", True),
        (decision(broker="other"), strategy(), Outcome.REJECTED, "not_its_market", True),
        (decision(timeframe=Timeframe.M5), strategy(), Outcome.REJECTED, "not_its_market", True),
        (decision(), strategy(active=False), Outcome.IGNORED, "stopped", True),
        (decision(), strategy(paused=True), Outcome.IGNORED, "paused", True),
        (decision(), strategy(end=CLOSE), Outcome.IGNORED, "outside_window", True),
        (decision(), strategy(start=NOW), Outcome.IGNORED, "outside_window", True),
        (decision(quote_amount=None), strategy(), Outcome.REJECTED, "no_amount", True),
        (by_hand(decision_id="made-up"), strategy(), Outcome.REJECTED, "foreign_id", False),
        (by_hand(Side.BUY), strategy(), Outcome.REJECTED, "manual_buy", True),
    ],
)  # fmt: skip
def test_what_may_not_act_says_why(
    what: Decision, of: ActiveStrategyRecord | None, outcome: Outcome, code: str, is_proven: bool
) -> None:
    ruling = judge(what, of, broker(), NOW)
    assert isinstance(ruling, Ruling)
    assert (ruling.outcome, ruling.code, ruling.is_proven) == (outcome, code, is_proven)
    assert ruling.reason
    assert ruling.command is None


@pytest.mark.parametrize("mode", [TradingMode.OFF, TradingMode.WEBHOOK])
def test_the_trading_mode_bars_strategies_and_no_way_out_by_hand(mode: TradingMode) -> None:
    for side in Side:
        ruling = judge(decision(side), strategy(), broker(mode), NOW)
        assert isinstance(ruling, Ruling)
        assert (ruling.outcome, ruling.code) == (Outcome.IGNORED, "trading_mode")
    assert isinstance(judge(by_hand(), strategy(), broker(mode), NOW), Actionable)


@pytest.mark.parametrize(
    "of", [strategy(active=False), strategy(paused=True), strategy(end=CLOSE), None]
)
def test_a_sale_by_hand_skips_the_strategys_rules(of: ActiveStrategyRecord | None) -> None:
    assert isinstance(judge(by_hand(), of, broker(), NOW), Actionable)


def test_a_decision_without_its_broker_is_rejected() -> None:
    ruling = judge(decision(), strategy(), None, NOW)
    assert isinstance(ruling, Ruling)
    assert ruling.code == "unknown_broker"


def test_it_is_valid_as_long_as_its_strategy_says() -> None:
    judged = judge(decision(), strategy(max_signal_age_seconds=7), broker(), NOW)
    assert isinstance(judged, Actionable)
    assert judged.valid_until == NOW + timedelta(seconds=7)


def test_a_buy_spends_its_amount_and_brings_its_levels() -> None:
    stop, target = Level(kind="fraction", value=Decimal("0.02")), Level(kind="price", value=60_000)
    what = decision(stop_loss=stop, take_profit=target, quote_amount=Decimal("100.009"))
    ruling = rule(actionable(what), Position(), account())
    command = ruling.command
    assert command is not None
    assert command.command_id == decision_command_id(what.decision_id)
    assert (command.side, command.type) == (Side.BUY, OrderType.MARKET)
    assert command.quote_quantity == 100
    assert command.holder == "strategy:ema-btc"
    assert command.asked_by is AskedBy.STRATEGY
    assert command.source_id == what.decision_id
    assert command.valid_until == NOW + timedelta(seconds=60)
    assert command.protection is not None
    assert (command.protection.stop_loss, command.protection.take_profit) == (stop, target)
    assert command.protection.held_quantity == 0
    opening = ruling.begin(Position())
    assert opening.state is PositionState.OPENING
    assert opening.stop_loss == Exit(fraction=Decimal("0.02"))
    assert opening.take_profit == Exit(price=Decimal(60_000))
    assert opening.dust == STEP


def test_the_same_decision_gives_the_same_order() -> None:
    first = rule(actionable(decision()), Position(), account())
    again = rule(actionable(decision(decided_at=NOW + timedelta(seconds=3))), Position(), account())
    assert first.command is not None
    assert again.command is not None
    assert first.command.command_id == again.command.command_id
    assert first.command.client_order_id == again.command.client_order_id


@pytest.mark.parametrize("by", [decision(Side.SELL), by_hand()])
def test_a_sale_is_of_what_the_strategy_holds_and_keeps_the_rest_protected(by: Decision) -> None:
    held = Position(
        PositionState.OPEN,
        bought=Decimal("0.0200049"),
        spent=Decimal(1000),
        stop_loss=Exit(Decimal(49_000), Decimal("0.02")),
    )
    ruling = rule(actionable(by), held, account())
    command = ruling.command
    assert command is not None
    assert (command.side, command.quantity) == (Side.SELL, Decimal("0.02000"))
    assert command.asked_by is by.asked_by
    assert command.protection is not None
    assert command.protection.stop_loss == Level(kind="price", value=Decimal(49_000))
    assert command.protection.take_profit is None
    assert command.protection.held_quantity == held.quantity
    assert ruling.begin(held).state is PositionState.CLOSING


@pytest.mark.parametrize(
    ("what", "position", "of", "outcome", "code"),
    [
        (decision(), HELD, account(), Outcome.IGNORED, "already_held"),
        (decision(), begin_buy(Position(), command_id="c", dust=STEP), account(),
         Outcome.IGNORED, "order_under_way"),
        (by_hand(), begin_buy(HELD, command_id="c", dust=STEP), account(),
         Outcome.IGNORED, "order_under_way"),
        (decision(Side.SELL), Position(), account(), Outcome.IGNORED, "nothing_held"),
        (by_hand(), Position(), account(), Outcome.IGNORED, "nothing_held"),
        # More than there is, is refused and not cut.
        (decision(), Position(), account(free_quote=99), Outcome.REJECTED, "not_enough"),
        (decision(quote_amount=4), Position(), account(), Outcome.REJECTED, "too_small"),
        (decision(), Position(), account(is_trading=False), Outcome.REJECTED, "not_trading"),
        (decision(stop_loss=Level(kind="price", value=PRICE)), Position(), account(),
         Outcome.REJECTED, "bad_stop"),
        (decision(stop_loss=Level(kind="fraction", value=1)), Position(), account(),
         Outcome.REJECTED, "bad_stop"),
        (decision(take_profit=Level(kind="price", value=PRICE)), Position(), account(),
         Outcome.REJECTED, "bad_target"),
    ],
)  # fmt: skip
def test_what_the_account_or_the_position_bars(
    what: Decision, position: Position, of: SizingReply, outcome: Outcome, code: str
) -> None:
    ruling = rule(actionable(what), position, of)
    assert (ruling.outcome, ruling.code) == (outcome, code)
    assert ruling.reason
    assert ruling.command is None


def test_no_more_is_sold_than_the_account_has_left() -> None:
    """The user moved some away by hand: the rest is sold. With all of it gone, it is said."""
    ruling = rule(actionable(by_hand()), HELD, account(free_base=Decimal("0.015")))
    assert ruling.command is not None
    assert ruling.command.quantity == Decimal("0.015")
    refused = rule(actionable(by_hand()), HELD, account(free_base=Decimal(0)))
    assert (refused.outcome, refused.code) == (Outcome.REJECTED, "not_in_account")


def test_the_brokers_limit_bars_entries_and_no_exit() -> None:
    limited = {"max_order_notional": Decimal(50)}
    ruling = rule(actionable(decision(), **limited), Position(), account())
    assert ruling.code == "above_limit"
    assert rule(actionable(decision(Side.SELL), **limited), HELD, account()).command is not None


def test_a_remainder_that_cannot_be_sold_bars_no_buy() -> None:
    """Below the smallest notional it would otherwise keep the strategy out for ever."""
    remainder = Position(PositionState.OPEN, bought=Decimal("0.00005"), spent=Decimal("2.5"))
    assert rule(actionable(decision(Side.SELL)), remainder, account()).code == "too_small"
    command = rule(
        actionable(decision(stop_loss=Level(kind="fraction", value=Decimal("0.02")))),
        remainder,
        account(),
    ).command
    assert command is not None
    assert command.protection is not None
    assert command.protection.held_quantity == Decimal("0.00005")
