"""Every webhook ends in a verdict that says what happened and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aristobot.contracts.alert_body import render
from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.messages import (
    QuantityRuleMessage,
    SizingReply,
    SymbolRulesMessage,
    WebhookReceived,
)
from aristobot.contracts.resources import TradingMode
from aristobot.core.orders import OrderType, Side
from aristobot.core.positions import Position, PositionState
from aristobot.engine.decision import Outcome, Tradable, Verdict, decide_order, judge, repeat

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
RULE = QuantityRuleMessage(
    minimum=Decimal("0.00001"), maximum=Decimal(9000), step=Decimal("0.00001")
)
ACCOUNT = SizingReply(
    rules=SymbolRulesMessage(
        symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        is_trading=True,
        limit=RULE,
        market=RULE,
        price_tick=Decimal("0.01"),
        min_notional=Decimal(5),
        min_notional_for_market=True,
        max_notional=None,
        max_notional_for_market=False,
        quote_precision=8,
        market_by_quote=True,
    ),
    free_base=Decimal("0.5"),
    free_quote=Decimal(1000),
    price=Decimal(100_000),
)


def _record(mode: TradingMode = TradingMode.WEBHOOK, **changes: object) -> BrokerRecord:
    fields: dict[str, object] = {
        "owner": "demo",
        "broker": "main",
        "exchange": "binance",
        "trading_mode": mode,
    }
    return BrokerRecord.model_validate(fields | changes)


def _webhook(body: bytes) -> WebhookReceived:
    return WebhookReceived(body, NOW, "203.0.113.9", "text/plain", "key")


def _alert(action: str = "BuyMarket", **fields: object) -> WebhookReceived:
    values: dict[str, object] = {
        "symbol": "BINANCE:BTCUSDT",
        "interval": "5",
        "bar_time": NOW - timedelta(minutes=5),
        "percent": "10",
        "indicator": "ema",
    }
    return _webhook(render(action, **(values | fields)))  # type: ignore[arg-type]


def _tradable(webhook: WebhookReceived, record: BrokerRecord | None = None) -> Tradable:
    judged = judge(webhook, record or _record())
    assert isinstance(judged, Tradable), judged
    return judged


@pytest.mark.parametrize("mode", [TradingMode.OFF, TradingMode.STRATEGY])
def test_the_trading_mode_is_obeyed(mode: TradingMode) -> None:
    judged = judge(_alert(), _record(mode))
    assert isinstance(judged, Verdict)
    assert (judged.outcome, judged.code) == (Outcome.IGNORED, "trading_mode")
    assert mode.value in (judged.reason or "")


@pytest.mark.parametrize(
    ("webhook", "outcome", "code"),
    [
        (_webhook(b""), Outcome.REJECTED, "unreadable"),
        (_webhook(b"\xff\xfe"), Outcome.REJECTED, "unreadable"),
        (_webhook(b"hello"), Outcome.REJECTED, "unreadable"),
        (_alert("PING"), Outcome.PROCESSED, None),
        (_alert("MAJ"), Outcome.REJECTED, "no_protection"),
        (_alert("Nonsense"), Outcome.REJECTED, "unknown_action"),
        (_alert(percent="101"), Outcome.REJECTED, "bad_percent"),
        (_alert(percent="-1"), Outcome.REJECTED, "bad_percent"),
        (_alert(symbol=None), Outcome.REJECTED, "no_symbol"),
        (_alert("BuyLimit"), Outcome.REJECTED, "no_price"),
        (_alert(bar_time=NOW - timedelta(hours=1)), Outcome.REJECTED, "stale"),
    ],
)
def test_what_does_not_trade_says_why(
    webhook: WebhookReceived, outcome: Outcome, code: str | None
) -> None:
    judged = judge(webhook, _record())
    assert isinstance(judged, Verdict)
    assert (judged.outcome, judged.code) == (outcome, code)
    assert judged.command is None
    assert (judged.reason is None) == (code is None)


def test_a_broker_that_is_not_there_is_named() -> None:
    judged = judge(_alert(broker_ref="other"), None)
    assert isinstance(judged, Verdict)
    assert judged.code == "unknown_broker"
    assert "'other'" in (judged.reason or "")


def test_an_old_alert_trades_when_the_broker_allows_any_age() -> None:
    tradable = _tradable(
        _alert(bar_time=NOW - timedelta(days=30)), _record(max_signal_age_seconds=0)
    )
    assert tradable.valid_until is None


def test_a_buy_spends_its_share_of_the_free_quote() -> None:
    verdict = decide_order(_tradable(_alert()), ACCOUNT, "w1", NOW)
    assert verdict.command is not None
    assert (verdict.command.side, verdict.command.type) == (Side.BUY, OrderType.MARKET)
    assert verdict.command.quote_quantity == 100
    assert verdict.command.symbol == "BTCUSDT"
    assert verdict.command.valid_until == NOW + timedelta(seconds=300)


def test_a_sale_of_everything_sells_what_is_held() -> None:
    verdict = decide_order(_tradable(_alert("SellMarket", percent="100")), ACCOUNT, "w1", NOW)
    assert verdict.command is not None
    assert verdict.command.quantity == Decimal("0.5")
    held = Position(PositionState.OPEN, bought=Decimal("0.5"), spent=Decimal(50_000))
    assert verdict.begin(held).state is PositionState.CLOSING


def test_the_ids_follow_from_the_webhook() -> None:
    first, again, other = (
        decide_order(_tradable(_alert()), ACCOUNT, webhook, NOW).command
        for webhook in ("w1", "w1", "w2")
    )
    assert first is not None
    assert first == again
    assert other is not None
    assert first.client_order_id != other.client_order_id


def test_the_brokers_limit_bars_entries_and_never_exits() -> None:
    record = _record(max_order_notional="50")
    entry = decide_order(_tradable(_alert(), record), ACCOUNT, "w1", NOW)
    assert (entry.outcome, entry.code) == (Outcome.REJECTED, "above_limit")
    way_out = decide_order(
        _tradable(_alert("SellMarket", percent="100"), record), ACCOUNT, "w1", NOW
    )
    assert way_out.outcome is Outcome.ORDERED


def test_too_small_is_refused_with_the_numbers() -> None:
    account = ACCOUNT.model_copy(update={"free_quote": Decimal(20)})
    verdict = decide_order(_tradable(_alert()), account, "w1", NOW)
    assert (verdict.outcome, verdict.code) == (Outcome.REJECTED, "too_small")
    assert "5" in (verdict.reason or "")


def test_one_bar_acts_once_unless_the_policy_allows_more() -> None:
    assert _tradable(_alert()).signal_key == _tradable(_alert(percent="50")).signal_key
    assert _tradable(_alert()).signal_key != _tradable(_alert("SellMarket")).signal_key
    assert _tradable(_alert(), _record(allow_repeated_signals=True)).signal_key is None
    assert repeat(Verdict(Outcome.ORDERED)).outcome is Outcome.IGNORED
