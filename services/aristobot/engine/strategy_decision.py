"""What a strategy's decision leads to: pure, in two steps around the one question to the gateway.

`judge` says whether the decision may act at all: is it what it claims to be, is its strategy at
work, may its broker trade. `rule` sizes the order once position and account are known. Every
decision ends in a `Ruling` that is recorded, whatever it is; the texts are for the user.

A person's "sell now" is a decision too: it skips the strategy's own rules, for nothing may bar the
way out of a position. So is "cancel its orders" (`judge_cancel`, `rule_cancel`), which needs no
account. Deliberately not here: recording, and how long to wait for an account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.keys import (
    cancel_decision_id,
    client_order_id,
    decision_command_id,
    decision_id,
    manual_decision_id,
)
from aristobot.contracts.messages import (
    AskedBy,
    CancelDecision,
    CancelOrders,
    Decision,
    Level,
    PlaceOrder,
    Protection,
    SizingReply,
    strategy_holder,
)
from aristobot.contracts.resources import TradingMode
from aristobot.core.errors import Refused
from aristobot.core.orders import OrderType, Side
from aristobot.core.positions import Exit, Position, begin_buy, begin_sell, without_levels
from aristobot.core.sizing import (
    Sized,
    is_sellable,
    size_market_sell,
    size_market_spend,
    smallest_order,
)
from aristobot.core.symbols import SymbolRules
from aristobot.engine.decision import Outcome

#: How long a person's "sell now" stays valid: nobody wants it done an hour later.
MANUAL_VALID_SECONDS = 60
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Ruling:
    """The end of a decision; `code` is stable, `reason` a sentence.

    `is_proven`: the decision's id is the function of its fields. `dust`: with a command, the
    smallest quantity that its exchange takes.
    """

    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    is_proven: bool = True
    command: PlaceOrder | CancelOrders | None = None
    dust: Decimal = Decimal(0)

    @property
    def order(self) -> PlaceOrder | None:
        """The order that it leads to: what later ones have to wait for."""
        return self.command if isinstance(self.command, PlaceOrder) else None

    def begin(self, position: Position) -> Position:
        """The position once the command is recorded. There must be a command."""
        command = self.command
        if command is None:
            raise ValueError("a ruling without a command moves no position")
        if isinstance(command, CancelOrders):
            return without_levels(position)
        if command.side is Side.SELL:
            return begin_sell(
                position,
                command_id=command.command_id,
                dust=self.dust,
                all_of_it=command.quantity,
            )
        protection = command.protection or Protection()
        return begin_buy(
            position,
            command_id=command.command_id,
            dust=self.dust,
            stop_loss=_exit(protection.stop_loss),
            take_profit=_exit(protection.take_profit),
        )


@dataclass(frozen=True, slots=True)
class Actionable:
    """A decision that may act, until `valid_until`."""

    decision: Decision
    broker: BrokerRecord
    valid_until: datetime

    @property
    def holder(self) -> str:
        return strategy_holder(self.decision.active_strategy)


def judge(
    decision: Decision,
    strategy: ActiveStrategyRecord | None,
    broker: BrokerRecord | None,
    stored_at: datetime,
) -> Ruling | Actionable:
    """Apply the rules that need no account. A record that is None: there is no such thing."""
    if decision.asked_by is AskedBy.MANUAL:
        ruling, seconds = _judge_manual(decision), MANUAL_VALID_SECONDS
    elif strategy is None:
        return _unproven("unknown_strategy", f"there is no strategy {decision.active_strategy}")
    else:
        ruling, seconds = _judge_strategy(decision, strategy), strategy.max_signal_age_seconds
    if ruling is not None:
        return ruling
    if broker is None:
        return _rejected("unknown_broker", f"there is no broker {decision.broker}")
    mode = broker.trading_mode
    if decision.asked_by is AskedBy.STRATEGY and mode is not TradingMode.STRATEGY:
        return Ruling(
            Outcome.IGNORED,
            "trading_mode",
            f"broker {broker.broker} has trading mode {mode.value}, not strategy",
        )
    return Actionable(decision, broker, stored_at + timedelta(seconds=seconds))


def judge_cancel(
    decision: CancelDecision, broker: BrokerRecord | None, stored_at: datetime
) -> Ruling | CancelOrders:
    """The command that `decision` stands for, unless it is not to be; the strategy may be gone."""
    if decision.decision_id != _id_by_hand(cancel_decision_id, decision):
        return _foreign()
    if broker is None:
        return _rejected("unknown_broker", f"there is no broker {decision.broker}")
    return CancelOrders(
        command_id=decision_command_id(decision.decision_id),
        owner=decision.owner,
        broker=decision.broker,
        symbol=decision.symbol,
        holder=strategy_holder(decision.active_strategy),
        asked_by=decision.asked_by,
        caused_at=decision.decided_at,
        valid_until=stored_at + timedelta(seconds=MANUAL_VALID_SECONDS),
    )


def rule_cancel(command: CancelOrders, position: Position, open_orders: int) -> Ruling:
    """`open_orders`: those of the strategy that aren't over, or are planned."""
    has_levels = position != without_levels(position)
    if open_orders or position.has_order_under_way or has_levels:
        return Ruling(Outcome.CANCELLING, command=command)
    return Ruling(
        Outcome.IGNORED, "nothing_open", f"no order of the strategy is open in {command.symbol}"
    )


def _id_by_hand(key: Callable[..., str], decision: Decision | CancelDecision) -> str:
    return key(
        decision.owner,
        decision.active_strategy,
        decision.broker,
        decision.symbol,
        decision.decided_at,
    )


def _judge_manual(decision: Decision) -> Ruling | None:
    own_id = _id_by_hand(manual_decision_id, decision)
    if decision.decision_id != own_id:
        return _foreign()
    if decision.side is not Side.SELL:
        return _rejected("manual_buy", "only a sale can be asked for by hand")
    return None


def _judge_strategy(decision: Decision, strategy: ActiveStrategyRecord) -> Ruling | None:
    own_id = decision_id(strategy.owner, strategy.name, strategy.uid, decision.candle_close)
    if decision.asked_by is not AskedBy.STRATEGY or decision.decision_id != own_id:
        return _foreign()
    wanted = (strategy.broker, strategy.symbol, strategy.timeframe)
    if (decision.broker, decision.symbol, decision.timeframe) != wanted:
        return _rejected(
            "not_its_market",
            f"it is for {decision.symbol} {decision.timeframe} on {decision.broker}, and "
            f"{strategy.name} is now at work on {strategy.symbol} {strategy.timeframe} on "
            f"{strategy.broker}",
        )
    if not strategy.active:
        return Ruling(Outcome.IGNORED, "stopped", f"{strategy.name} is stopped")
    if strategy.paused:
        return Ruling(Outcome.IGNORED, "paused", f"{strategy.name} is suspended")
    if not strategy.is_in_window(decision.candle_close):
        return Ruling(
            Outcome.IGNORED,
            "outside_window",
            f"its candle closed at {decision.candle_close:%Y-%m-%d %H:%M:%S} UTC, outside of the "
            f"start and end of {strategy.name}",
        )
    if decision.side is Side.BUY and decision.quote_amount is None:
        return _rejected("no_amount", "a buy must say how much to spend")
    return None


def rule_unasked(decision: Decision, position: Position) -> Ruling | None:
    """The ruling that needs no account: a sale of nothing. None for everything else."""
    is_empty = position.quantity <= 0 and not position.has_order_under_way
    if decision.side is Side.SELL and is_empty:
        return refuse(Refused("nothing_held", f"the strategy holds nothing in {decision.symbol}"))
    return None


def rule(actionable: Actionable, position: Position, account: SizingReply) -> Ruling:
    """Size the order and make the command; its ids are functions of the decision's id."""
    decision, rules = actionable.decision, account.rules.to_rules()
    if position.has_order_under_way:
        return Ruling(Outcome.IGNORED, "order_under_way", "the order before it is not over yet")
    unasked = rule_unasked(decision, position)
    if unasked is not None:
        return unasked
    try:
        if decision.side is Side.SELL:
            sized = _size_sale(rules, position, account)
            protection = _protection_of(position)
        else:
            if is_sellable(rules, position.quantity, account.price):
                raise Refused("already_held", f"the strategy holds {rules.base} already")
            sized = size_market_spend(
                rules,
                account.free_quote,
                decision.quote_amount or Decimal(0),
                account.price,
                max_notional=actionable.broker.max_order_notional,
            )
            _check_levels(decision, account.price)
            protection = _protection(decision.stop_loss, decision.take_profit, position.quantity)
    except Refused as refusal:
        return refuse(refusal)
    return Ruling(
        Outcome.ORDERED,
        command=_command(actionable, sized, protection),
        dust=smallest_order(rules),
    )


def _size_sale(rules: SymbolRules, position: Position, account: SizingReply) -> Sized:
    """Never more than the strategy holds, and no more than is left of it in the account."""
    held = min(position.quantity, account.free_base)
    try:
        return size_market_sell(rules, held, _HUNDRED, account.price)
    except Refused as refusal:
        is_dust = not is_sellable(rules, position.quantity, account.price)
        if is_dust or refusal.code not in ("nothing_held", "too_small"):
            raise
        raise Refused(
            "not_in_account",
            f"the strategy holds {position.quantity:f} {rules.base} by its orders, and only "
            f"{account.free_base:f} is free in the account: it was moved or sold in another way, "
            "or an order that isn't Aristobot's locks it",
        ) from refusal


def refuse(refusal: Refused) -> Ruling:
    """The ruling when an account rule or the gateway says no for good."""
    is_nothing_to_do = refusal.code in ("nothing_held", "already_held")
    outcome = Outcome.IGNORED if is_nothing_to_do else Outcome.REJECTED
    return Ruling(outcome, refusal.code, str(refusal))


def expire(waited_for: str) -> Ruling:
    """The ruling when it couldn't be acted on while it was still worth acting on."""
    return _rejected(
        "expired",
        f"too old to act on by the time it could be processed; it waited for: {waited_for}",
    )


def _command(actionable: Actionable, sized: Sized, protection: Protection | None) -> PlaceOrder:
    decision = actionable.decision
    command_id = decision_command_id(decision.decision_id)
    return PlaceOrder(
        command_id=command_id,
        client_order_id=client_order_id(command_id),
        owner=decision.owner,
        broker=decision.broker,
        symbol=decision.symbol,
        side=decision.side,
        type=OrderType.MARKET,
        quantity=sized.quantity,
        quote_quantity=sized.quote_quantity,
        asked_by=decision.asked_by,
        source_id=decision.decision_id,
        caused_at=decision.decided_at,
        valid_until=actionable.valid_until,
        holder=actionable.holder,
        protection=protection,
    )


def _check_levels(decision: Decision, price: Decimal) -> None:
    """Refuse what would sell at once, or never: nothing is guessed about what was meant."""
    stop, target = decision.stop_loss, decision.take_profit
    if stop is not None and stop.kind == "fraction" and stop.value >= 1:
        raise Refused("bad_stop", f"a stop of {stop.value * 100:f} % below the entry is no price")
    if stop is not None and stop.kind == "price" and stop.value >= price:
        raise Refused("bad_stop", f"the stop {stop.value:f} is not below the price {price:f}")
    if target is not None and target.kind == "price" and target.value <= price:
        raise Refused("bad_target", f"the target {target.value:f} is not above the price {price:f}")


def _protection_of(position: Position) -> Protection | None:
    """What a sale leaves of the position is protected as the position was."""
    stop, target = position.stop_loss.price, position.take_profit.price
    return _protection(
        None if stop is None else Level(kind="price", value=stop),
        None if target is None else Level(kind="price", value=target),
        position.quantity,
    )


def _protection(stop: Level | None, target: Level | None, held: Decimal) -> Protection | None:
    if stop is None and target is None:
        return None
    return Protection(stop_loss=stop, take_profit=target, held_quantity=held)


def _exit(level: Level | None) -> Exit:
    match level:
        case None:
            return Exit()
        case Level(kind="price"):
            return Exit(price=level.value)
        case _:
            return Exit(fraction=level.value)


def _rejected(code: str, reason: str) -> Ruling:
    return Ruling(Outcome.REJECTED, code, reason)


def _unproven(code: str, reason: str) -> Ruling:
    return Ruling(Outcome.REJECTED, code, reason, is_proven=False)


def _foreign() -> Ruling:
    return _unproven("foreign_id", "its id is not that of a decision of this strategy")
