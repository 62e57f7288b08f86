"""What a webhook leads to: pure, in two steps around the one question asked to the gateway.

`judge` reads the alert and says whether it may trade at all; `decide_order` sizes the order once
the account is known. Every webhook ends in a `Verdict` that is recorded, whatever it is. The
texts are for the user. Deliberately not here: recording, and "this signal has acted already",
which only the database can know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.keys import client_order_id, command_id, signal_key
from aristobot.contracts.messages import (
    AskedBy,
    Level,
    PlaceOrder,
    Protection,
    SizingReply,
    WebhookReceived,
)
from aristobot.contracts.resources import TradingMode
from aristobot.core.alert import Action, Alert, check_age, interpret
from aristobot.core.alert_text import read_fields
from aristobot.core.errors import Refused
from aristobot.core.orders import OrderType, Side
from aristobot.core.positions import Exit, Position, begin_buy, begin_sell
from aristobot.core.sizing import (
    Sized,
    size_limit_buy,
    size_limit_sell,
    size_market_buy,
    size_market_sell,
    smallest_order,
)

_HUNDRED = Decimal(100)


class Outcome(StrEnum):
    """How a webhook or a decision ended.

    `processed`: understood, nothing to trade. `cancelling`: the open orders are being cancelled.
    """

    PROCESSED = "processed"
    ORDERED = "ordered"
    IGNORED = "ignored"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLING = "cancelling"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a webhook; `code` is stable, `reason` a sentence. `alert` if it was read.

    `dust`: with a command, the smallest quantity that its exchange takes (`core.positions`).
    """

    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    alert: Alert | None = None
    signal_key: str | None = None
    command: PlaceOrder | None = None
    dust: Decimal = Decimal(0)

    def protected(self, held: Decimal, begun: Position) -> PlaceOrder:
        """The command, saying also how the gateway is to protect what it leaves behind.

        `held`: base that the position held before; `begun`: the position as `begin` leaves it.
        """
        if self.command is None:
            raise ValueError("a verdict without an order protects nothing")
        return self.command.model_copy(update={"protection": protection_of(begun, held)})

    def begin(self, position: Position) -> Position:
        """The position once the command is recorded. There must be an alert and a command."""
        if self.command is None or self.alert is None:
            raise ValueError("a verdict without an order moves no position")
        command_id = self.command.command_id
        if self.command.side is Side.BUY:
            return begin_buy(
                position,
                command_id=command_id,
                dust=self.dust,
                stop_loss=Exit(self.alert.stop_loss_price),
                take_profit=Exit(self.alert.take_profit_price),
            )
        all_of_it = self.command.quantity if self.alert.percent == _HUNDRED else None
        return begin_sell(position, command_id=command_id, dust=self.dust, all_of_it=all_of_it)


@dataclass(frozen=True, slots=True)
class Tradable:
    """An alert that may trade; `side`, `symbol` and `percent` are known to be there."""

    alert: Alert
    record: BrokerRecord
    symbol: str
    side: Side
    type: OrderType
    percent: Decimal
    signal_key: str | None
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Adjustable:
    """A MAJ alert that may act; see `adjustment`."""

    alert: Alert
    record: BrokerRecord
    symbol: str
    signal_key: str | None
    valid_until: datetime | None


def protection_of(position: Position, held: Decimal) -> Protection:
    """The position's stop and target; `held`: base it holds before the command they go with."""
    return Protection(
        stop_loss=_level(position.stop_loss.price),
        take_profit=_level(position.take_profit.price),
        held_quantity=held,
    )


def _level(price: Decimal | None) -> Level | None:
    return Level(kind="price", value=price) if price is not None else None


def judge(webhook: WebhookReceived, record: BrokerRecord | None) -> Verdict | Tradable | Adjustable:
    """Read the alert and apply the rules that need no account. `record` None: no such broker."""
    try:
        fields = read_fields(webhook.body)
    except Refused as refusal:
        return Verdict(Outcome.REJECTED, refusal.code, str(refusal))
    try:
        alert = interpret(fields)
    except Refused as refusal:
        return Verdict(Outcome.REJECTED, refusal.code, str(refusal))
    if record is None:
        named = f"{alert.broker_ref!r}" if alert.broker_ref else "nothing"
        return Verdict(
            Outcome.REJECTED,
            "unknown_broker",
            f"UserExchangeID is {named}, and there is no such broker: use a broker's name or the "
            "number in its spec",
            alert,
        )
    if alert.action is Action.PING:
        return Verdict(Outcome.PROCESSED, alert=alert)
    if record.trading_mode is not TradingMode.WEBHOOK:
        return Verdict(
            Outcome.IGNORED,
            "trading_mode",
            f"broker {record.broker} has trading mode {record.trading_mode.value}, not webhook",
            alert,
        )
    return _tradable(alert, webhook, record)


def _tradable(
    alert: Alert, webhook: WebhookReceived, record: BrokerRecord
) -> Verdict | Tradable | Adjustable:
    try:
        check_age(alert, webhook.received_at, record.max_signal_age_seconds)
    except Refused as refusal:
        return Verdict(Outcome.REJECTED, refusal.code, str(refusal), alert)
    key = None if record.allow_repeated_signals else signal_key(record.owner, record.broker, alert)
    limit = record.max_signal_age_seconds
    valid_until = webhook.received_at + timedelta(seconds=limit) if limit else None
    if alert.action is Action.UPDATE_PROTECTION and alert.symbol is not None:
        return Adjustable(alert, record, alert.symbol, key, valid_until)
    side, order_type = alert.action.side, alert.action.order_type
    if side is None or order_type is None or alert.symbol is None or alert.percent is None:
        return Verdict(
            Outcome.REJECTED, "incomplete", f"{alert.action.value} lacks Symbol or PourCent", alert
        )
    return Tradable(
        alert=alert,
        record=record,
        symbol=alert.symbol,
        side=side,
        type=order_type,
        percent=alert.percent,
        signal_key=key,
        valid_until=valid_until,
    )


def refuse(tradable: Tradable | Adjustable, refusal: Refused) -> Verdict:
    """The verdict when an account rule or the gateway says no for good."""
    return Verdict(Outcome.REJECTED, refusal.code, str(refusal), tradable.alert)


def expire(tradable: Tradable | Adjustable, waited_for: str) -> Verdict:
    """The verdict when the order couldn't be decided while the signal was still worth acting on."""
    return Verdict(
        Outcome.REJECTED,
        "expired",
        f"too old to act on by the time it could be processed; it waited for: {waited_for}",
        tradable.alert,
    )


def repeat(verdict: Verdict) -> Verdict:
    """The verdict when the same bar's signal has acted before."""
    return Verdict(
        Outcome.IGNORED,
        "repeated_signal",
        "this bar's signal has acted already (same indicator, symbol, interval, bar and action)",
        verdict.alert,
    )


def decide_order(
    tradable: Tradable, account: SizingReply, webhook_id: str, at: datetime
) -> Verdict:
    """Size the order and make the command; its ids are functions of the webhook's id."""
    try:
        sized = _size(tradable, account)
        if tradable.side is Side.BUY:
            check_levels(tradable.alert, sized.price or account.price)
    except Refused as refusal:
        return refuse(tradable, refusal)
    identifier = command_id(webhook_id)
    command = PlaceOrder(
        command_id=identifier,
        client_order_id=client_order_id(identifier),
        owner=tradable.record.owner,
        broker=tradable.record.broker,
        symbol=tradable.symbol,
        side=tradable.side,
        type=tradable.type,
        quantity=sized.quantity,
        quote_quantity=sized.quote_quantity,
        price=sized.price,
        asked_by=AskedBy.WEBHOOK,
        source_id=webhook_id,
        caused_at=at,
        valid_until=tradable.valid_until,
    )
    return Verdict(
        Outcome.ORDERED,
        alert=tradable.alert,
        signal_key=tradable.signal_key,
        command=command,
        dust=smallest_order(account.rules.to_rules()),
    )


def check_levels(alert: Alert, price: Decimal) -> None:
    """Refuse a stop or target that would sell at once."""
    stop, target = alert.stop_loss_price, alert.take_profit_price
    if stop is not None and stop >= price:
        raise Refused(
            "bad_stop", f"PrixSL {stop:f} is not below the price {price:f}: it would sell at once"
        )
    if target is not None and target <= price:
        raise Refused(
            "bad_target",
            f"PrixTP {target:f} is not above the price {price:f}: it would sell at once",
        )


def _size(tradable: Tradable, account: SizingReply) -> Sized:
    rules, percent = account.rules.to_rules(), tradable.percent
    max_notional = tradable.record.max_order_notional
    limit_price = tradable.alert.price or Decimal(0)
    # The broker's own limit bars entries only: nothing may bar the way out of a position.
    match tradable.side, tradable.type:
        case Side.BUY, OrderType.MARKET:
            return size_market_buy(
                rules, account.free_quote, percent, account.price, max_notional=max_notional
            )
        case Side.BUY, OrderType.LIMIT:
            return size_limit_buy(
                rules, account.free_quote, percent, limit_price, max_notional=max_notional
            )
        case Side.SELL, OrderType.MARKET:
            return size_market_sell(rules, account.free_base, percent, account.price)
        case _:
            return size_limit_sell(rules, account.free_base, percent, limit_price)
