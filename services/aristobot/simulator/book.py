"""The exchange's state and the one way it changes: by applying events.

A command of `matching.Exchange` becomes one journal
entry (a list of events) which is written first and applied here second, and a restart applies the
same events again. So the state after a replay is the state before, by construction. Not here:
deciding anything (that is `matching`), files (`journal`), prices and candles (`market`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.accounts import Account, Balance
from aristobot.simulator.events import (
    Event,
    accepted_event,
    account_event,
    filled_event,
    list_event,
)
from aristobot.simulator.orders import (
    EndReason,
    FillPlan,
    Kind,
    Lifetime,
    Order,
    OrderList,
    Trade,
    Trigger,
)
from aristobot.simulator.pairs import Pair


@dataclass(frozen=True, slots=True)
class OrderChange:
    """An order was accepted, triggered (`is_trigger`), filled a bit (`trade`), or ended."""

    order: Order
    time_ms: int
    trade: Trade | None = None
    is_end: bool = False
    is_trigger: bool = False


@dataclass(frozen=True, slots=True)
class ListChange:
    """An order list was accepted (told before its orders), or is done (`list.is_open` False)."""

    list: OrderList
    time_ms: int


@dataclass(frozen=True, slots=True)
class BalanceSet:
    """An account's free balances were set from outside; `deltas` by asset."""

    account: Account
    deltas: dict[str, Decimal]
    time_ms: int


Change = OrderChange | ListChange | BalanceSet


def _decimal_or_none(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


class Book:
    """Accounts, orders and fills with the indexes that keep every lookup off a full scan."""

    def __init__(self, pairs: dict[str, Pair]) -> None:
        self.pairs = pairs
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.resting: dict[str, dict[int, Order]] = {symbol: {} for symbol in pairs}
        self.lists: dict[int, OrderList] = {}
        self.next_order_id = 1
        self.next_trade_id = 1
        self.next_list_id = 1
        self._appliers: dict[str, Callable[..., Change | None]] = {
            "account": self._apply_account,
            "secret": self._apply_secret,
            "balances": self._apply_balances,
            "order": self._apply_order,
            "fill": self._apply_fill,
            "end": self._apply_end,
            "list": self._apply_list,
            "list-done": self._apply_list_done,
            "working": self._apply_working,
            "held": self._apply_held,
            "kept-balances": self._restore_balances,
            "kept-order": self._restore_order,
            "kept-list": self._restore_list,
            "kept-trade": self._restore_trade,
            "ids": self._restore_ids,
        }

    def apply(self, event: Event) -> Change | None:
        """Change the state by one event; KeyError for a kind that is not the book's."""
        return self._appliers[event[0]](*event[1:])

    def open_list_of(self, order: Order) -> OrderList | None:
        """The list that the order belongs to, while it is open."""
        found = None if order.list_id is None else self.lists[order.list_id]
        return found if found is not None and found.is_open else None

    def legs_of(self, shown: OrderList) -> list[Order]:
        """A list's orders, the stop first."""
        return [self.orders[order_id] for order_id, _ in shown.legs]

    def snapshot(self) -> Iterator[Event]:
        """Events that build this state from nothing."""
        for account in self.accounts.values():
            yield account_event(account.api_key, account.secret.decode(), account.uid)
            amounts = {a: [str(b.free), str(b.locked)] for a, b in account.balances.items()}
            yield ["kept-balances", account.api_key, amounts, account.updated_ms]
        for order in self.orders.values():
            yield [
                "kept-order", accepted_event(order)[1:], order.status.value, order.updated_ms,
                str(order.executed), str(order.executed_quote),
                order.end_reason and order.end_reason.value, order.cancel_client_id,
                order.working_ms,
            ]  # fmt: skip
        for kept in self.lists.values():
            yield ["kept-list", list_event(kept)[1:], kept.updated_ms, kept.is_open]
        trades = (t for a in self.accounts.values() for ts in a.trades.values() for t in ts)
        for trade in sorted(trades, key=lambda trade: trade.id):
            yield ["kept-trade", *filled_event(trade)[1:]]
        yield ["ids", self.next_order_id, self.next_trade_id, self.next_list_id]

    def _apply_account(self, api_key: str, secret: str, uid: int) -> None:
        self.accounts[api_key] = Account(api_key, secret.encode(), uid)

    def _apply_secret(self, api_key: str, secret: str) -> None:
        self.accounts[api_key].secret = secret.encode()

    def _apply_balances(self, api_key: str, amounts: dict[str, str], time_ms: int) -> BalanceSet:
        account = self.accounts[api_key]
        deltas = {asset: -account.free(asset) for asset in account.balances}
        for asset, amount in amounts.items():
            deltas[asset] = deltas.get(asset, Decimal(0)) + Decimal(amount)
        for asset, delta in deltas.items():
            account.balance(asset).add_free(delta)
        account.updated_ms = time_ms
        return BalanceSet(account, {a: d for a, d in deltas.items() if d}, time_ms)

    def _make_order(
        self, order_id: int, api_key: str, symbol: str, client_id: str, side: str, kind: str,
        lifetime: str, price: str, quantity: str, quote_requested: str, time_ms: int, locked: str,
        hold_until_ms: int | None, fixed_price: str | None, expires_when_due: bool,
        # What follows is absent from journals that are older than conditional orders.
        trigger: str | None = None, stop_price: str = "0", list_id: int | None = None,
        plan: tuple[str, float, bool] | None = None,
    ) -> Order:  # fmt: skip
        return Order(
            id=order_id,
            account=self.accounts[api_key],
            pair=self.pairs[symbol],
            client_id=client_id,
            side=Side(side),
            kind=Kind(kind),
            lifetime=Lifetime(lifetime),
            price=Decimal(price),
            quantity=Decimal(quantity),
            quote_requested=Decimal(quote_requested),
            created_ms=time_ms,
            updated_ms=time_ms,
            locked=Decimal(locked),
            hold_until_ms=hold_until_ms,
            fixed_price=_decimal_or_none(fixed_price),
            expires_when_due=expires_when_due,
            trigger=None if trigger is None else Trigger(trigger),
            stop_price=Decimal(stop_price),
            list_id=list_id,
            working_ms=time_ms if trigger is None else None,
            plan=None if plan is None else FillPlan(Decimal(plan[0]), *plan[1:]),
        )

    def _index(self, order: Order) -> None:
        account, symbol = order.account, order.pair.symbol
        self.orders[order.id] = order
        account.orders.setdefault(symbol, []).append(order)
        account.latest_by_client_id[symbol, order.client_id] = order
        self.next_order_id = max(self.next_order_id, order.id + 1)
        if order.is_open:
            account.open_orders.setdefault(symbol, {})[order.id] = order
            account.open_client_ids.add(order.client_id)
            self.resting[symbol][order.id] = order

    def _unindex(self, order: Order) -> None:
        """Take an order that is no longer open out of the indexes of open ones."""
        symbol = order.pair.symbol
        order.account.open_orders[symbol].pop(order.id)
        order.account.open_client_ids.discard(order.client_id)
        self.resting[symbol].pop(order.id)

    def _apply_order(self, *fields: Any) -> OrderChange:
        order = self._make_order(*fields)
        order.account.balance(order.spent_asset).lock(order.locked)
        order.account.updated_ms = order.created_ms
        self._index(order)
        return OrderChange(order, order.created_ms)

    def _make_list(
        self, list_id: int, api_key: str, symbol: str, client_id: str, side: str,
        legs: list[tuple[int, str]], time_ms: int, locked: str,
    ) -> OrderList:  # fmt: skip
        made = OrderList(
            id=list_id,
            account=self.accounts[api_key],
            pair=self.pairs[symbol],
            client_id=client_id,
            side=Side(side),
            legs=tuple((order_id, leg_id) for order_id, leg_id in legs),
            created_ms=time_ms,
            updated_ms=time_ms,
            locked=Decimal(locked),
        )
        self.lists[made.id] = made.account.lists[made.id] = made
        self.next_list_id = max(self.next_list_id, made.id + 1)
        return made

    def _apply_list(self, *fields: Any) -> ListChange:
        made = self._make_list(*fields)
        made.account.open_lists[made.id] = made
        made.account.balance(made.spent_asset).lock(made.locked)
        return ListChange(made, made.created_ms)

    def _apply_list_done(self, list_id: int, time_ms: int) -> ListChange:
        done = self.lists[list_id]
        done.is_open = False
        done.updated_ms = time_ms
        done.account.balance(done.spent_asset).lock(-done.locked)
        done.locked = Decimal(0)
        done.account.open_lists.pop(list_id)
        return ListChange(done, time_ms)

    def _apply_working(self, order_id: int, time_ms: int, locked: str) -> OrderChange | None:
        order = self.orders[order_id]
        order.account.balance(order.spent_asset).lock(Decimal(locked) - order.locked)
        order.locked = Decimal(locked)
        order.updated_ms = order.account.updated_ms = time_ms
        if order.working_ms is not None:
            return None  # it was in the book already: nobody sees a difference
        order.working_ms = time_ms
        return OrderChange(order, time_ms, is_trigger=True)

    def _apply_held(
        self, order_id: int, until_ms: int, fixed_price: str, expires_when_due: bool
    ) -> None:
        order = self.orders[order_id]
        order.hold_until_ms = until_ms
        order.fixed_price = Decimal(fixed_price)
        order.expires_when_due = expires_when_due
        order.plan = None

    def _make_trade(
        self, order_id: int, trade_id: int, price: str, quantity: str, quote: str, fee: str,
        time_ms: int, is_maker: bool,
    ) -> Trade:  # fmt: skip
        order = self.orders[order_id]
        trade = Trade(
            id=trade_id,
            order=order,
            price=Decimal(price),
            quantity=Decimal(quantity),
            quote=Decimal(quote),
            fee=Decimal(fee),
            fee_asset=order.received_asset,
            time_ms=time_ms,
            is_maker=is_maker,
        )
        order.account.trades.setdefault(order.pair.symbol, []).append(trade)
        order.trades.append(trade)
        self.next_trade_id = max(self.next_trade_id, trade_id + 1)
        return trade

    def _apply_fill(self, *fields: Any) -> OrderChange:
        trade = self._make_trade(*fields)
        order = trade.order
        if order.side is Side.BUY:
            spent, received = trade.quote, trade.quantity
        else:
            spent, received = trade.quantity, trade.quote
        order.account.balance(order.spent_asset).add_locked(-spent)
        order.locked -= spent
        order.account.balance(order.received_asset).add_free(received - trade.fee)
        order.executed += trade.quantity
        order.executed_quote += trade.quote
        is_done = order.executed == order.quantity
        order.status = OrderStatus.FILLED if is_done else OrderStatus.PARTIALLY_FILLED
        order.updated_ms = order.account.updated_ms = trade.time_ms
        if is_done:
            self._release(order)
        return OrderChange(order, trade.time_ms, trade)

    def _apply_end(
        self, order_id: int, status: str, reason: str, time_ms: int, cancel_client_id: str | None
    ) -> OrderChange:
        order = self.orders[order_id]
        order.status = OrderStatus(status)
        order.end_reason = EndReason(reason)
        order.cancel_client_id = cancel_client_id
        order.updated_ms = order.account.updated_ms = time_ms
        self._release(order)
        return OrderChange(order, time_ms, is_end=True)

    def _release(self, order: Order) -> None:
        order.account.balance(order.spent_asset).lock(-order.locked)
        order.locked = Decimal(0)
        self._unindex(order)

    def _restore_balances(
        self, api_key: str, amounts: dict[str, tuple[str, str]], updated_ms: int
    ) -> None:
        account = self.accounts[api_key]
        account.updated_ms = updated_ms
        for asset, (free, locked) in amounts.items():
            account.balances[asset] = Balance(Decimal(free), Decimal(locked))

    def _restore_order(
        self, accepted: list[Any], status: str, updated_ms: int, executed: str,
        executed_quote: str, end_reason: str | None, cancel_client_id: str | None,
        working_ms: int | None = None,
    ) -> None:  # fmt: skip
        order = self._make_order(*accepted)
        order.status = OrderStatus(status)
        order.updated_ms = updated_ms
        order.executed = Decimal(executed)
        order.executed_quote = Decimal(executed_quote)
        order.end_reason = None if end_reason is None else EndReason(end_reason)
        order.cancel_client_id = cancel_client_id
        order.working_ms = working_ms if order.trigger else order.created_ms
        self._index(order)

    def _restore_list(self, accepted: list[Any], updated_ms: int, is_open: bool) -> None:
        kept = self._make_list(*accepted)
        kept.updated_ms = updated_ms
        kept.is_open = is_open
        if is_open:
            kept.account.open_lists[kept.id] = kept

    def _restore_trade(self, *fields: Any) -> None:
        self._make_trade(*fields)

    def _restore_ids(self, next_order_id: int, next_trade_id: int, next_list_id: int = 1) -> None:
        self.next_order_id = next_order_id
        self.next_trade_id = next_trade_id
        self.next_list_id = next_list_id
