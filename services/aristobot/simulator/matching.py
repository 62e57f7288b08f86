"""The exchange itself: commands in, events to the journal, then to the book, then to listeners.

Every command is synchronous, so it is atomic among the server's tasks: it checks, builds its
events, writes them as one journal entry, applies them and tells the listeners. Whoever answers a
client afterwards answers what is already kept. Resting orders are looked at once per tick, and only
the open ones. Not here: any venue's words, HTTP, faults (a dialect passes a `FillPlan`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from aristobot.core.errors import Misconfigured
from aristobot.core.orders import OrderStatus
from aristobot.simulator.accounts import Account, NegativeBalance
from aristobot.simulator.admission import admit, admit_list, would_match
from aristobot.simulator.book import Book, Change
from aristobot.simulator.clock import Clock
from aristobot.simulator.events import (
    Event,
    accepted_event,
    account_event,
    balances_event,
    ended_event,
    list_done_event,
    list_event,
)
from aristobot.simulator.journal import FileJournal, Journal, MemoryJournal
from aristobot.simulator.market import PublicTrade
from aristobot.simulator.market_memory import (
    is_market_event,
    market_snapshot,
    minutes_event,
    prices_event,
    restore_market,
)
from aristobot.simulator.market_opening import open_market, start_market
from aristobot.simulator.orders import (
    EndReason,
    FillPlan,
    Kind,
    Lifetime,
    ListRequest,
    Order,
    OrderList,
    OrderRequest,
    Refusal,
    Refused,
)
from aristobot.simulator.pairs import PAIRS, Pair
from aristobot.simulator.resting import Look, events_at, fill_event
from aristobot.simulator.rules import execution_price, floor_to
from aristobot.simulator.settings import SimulatorSettings

_PRICES_EVERY_MS = 10_000
_FIRST_UID = 100_001

ChangeListener = Callable[[Change], None]
TradeListener = Callable[[PublicTrade], None]


class Exchange:
    """A market, accounts and orders, kept in a journal."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        """Replay the data folder; `Misconfigured` when it is damaged, locked or unwritable."""
        self.clock = clock
        self.market = open_market(settings, clock)
        self.book = Book(dict(PAIRS))
        self.change_listeners: list[ChangeListener] = []
        self.trade_listeners: list[TradeListener] = []
        self._prices_kept_ms = 0
        self._journal: Journal = MemoryJournal()
        if settings.data_dir is None:
            self.market.invent_past()
            start_market(self.market, clock)
        else:
            self._journal = self._open_journal(FileJournal(settings.data_dir))

    def _open_journal(self, journal: FileJournal) -> FileJournal:
        try:
            has_history = self._replay(journal)
            if not has_history:
                self.market.invent_past()
            start_market(self.market, self.clock)
            journal.start([*market_snapshot(self.market), *self.book.snapshot()])
        except BaseException:
            journal.close()
            raise
        return journal

    def _replay(self, journal: FileJournal) -> bool:
        has_history = False
        for event in journal.replay():
            try:
                if is_market_event(event):
                    restore_market(self.market, event)
                    has_history = True
                else:
                    self.book.apply(event)
            except (LookupError, TypeError, ValueError, ArithmeticError, NegativeBalance) as error:
                raise Misconfigured(
                    "The simulator's data folder holds an entry that does not fit the ones before "
                    f"it ({event[0]!r}). Move the folder away to start anew."
                ) from error
        return has_history

    def close(self) -> None:
        """Keep the last prices and close the journal."""
        try:
            self._journal.append([prices_event(self.market)])
        finally:
            self._journal.close()

    # Accounts

    def account(self, api_key: str) -> Account | None:
        return self.book.accounts.get(api_key)

    def put_account(
        self, api_key: str, secret: str, balances: dict[str, Decimal], *, reset: bool
    ) -> tuple[Account, bool]:
        """Create the account; an existing one stays as it is unless `reset`. Also: was it created.

        A reset cancels open orders, sets the balances and the secret; past orders stay.
        """
        existing = self.account(api_key)
        if existing is not None and not reset:
            return existing, False
        now = self.clock.now_ms()
        events: list[Event] = []
        if existing is None:
            events.append(account_event(api_key, secret, _FIRST_UID + len(self.book.accounts)))
        else:
            orders = [o for by_id in existing.open_orders.values() for o in by_id.values()]
            events += self._cancelled(orders, EndReason.ACCOUNT_RESET, now)
            events.append(["secret", api_key, secret])
        amounts = {asset: str(amount) for asset, amount in balances.items()}
        events.append(balances_event(api_key, amounts, now))
        self._commit(events)
        return self.book.accounts[api_key], existing is None

    # Orders

    def check(self, account: Account, request: OrderRequest) -> Decimal:
        """Raise `Refused` if the order would be refused now; returns its base quantity."""
        return admit(account, request, self.market.quote(request.symbol)).quantity

    def place(self, account: Account, request: OrderRequest, plan: FillPlan | None = None) -> Order:
        """Accept an order and fill what fills at once, or raise `Refused` (nothing happened).

        With a `plan` a fill that would be immediate is stretched: a fraction now, the rest later.
        """
        admitted = admit(account, request, self.market.quote(request.symbol))
        quantity = admitted.quantity
        order = self._new_order(account, request, quantity, self.book.next_order_id)
        order.locked = admitted.needed
        if order.trigger is not None:
            order.plan = plan
            self._commit([accepted_event(order)])
            return self.book.orders[order.id]
        look = self._look(request.symbol)
        price = execution_price(request.side, look.quote)
        fills_now = request.kind is Kind.MARKET or would_match(request, look.quote)
        fill_quantity = quantity if fills_now else Decimal(0)
        can_rest = request.lifetime is Lifetime.GOOD_TILL_CANCELLED
        if plan is not None and (fills_now or can_rest):
            order.hold_until_ms = look.machine_ms + round(plan.seconds * 1000)
            if fills_now:
                order.fixed_price = price
                order.expires_when_due = plan.rest_expires
                fill_quantity = floor_to(quantity * plan.fraction, order.pair.quantity_step)
        events = [accepted_event(order)]
        if fill_quantity:
            events.append(fill_event(order, fill_quantity, price, look, is_maker=False))
        elif not fills_now and not can_rest:
            reason = (
                EndReason.NOT_FILLABLE_AT_ONCE
                if request.lifetime is Lifetime.FILL_OR_KILL
                else EndReason.IMMEDIATE_REMAINDER
            )
            events.append(ended_event(order.id, OrderStatus.EXPIRED, reason, look.now_ms))
        self._commit(events)
        return self.book.orders[order.id]

    def place_list(
        self, account: Account, request: ListRequest, plan: FillPlan | None = None
    ) -> OrderList:
        """Accept a pair of which one cancels the other, or raise `Refused` (nothing happened).

        The funds are locked once, for the dearer of the two. A `plan` stretches the fills of
        whichever order will work.
        """
        symbol = request.stop.symbol
        admitted = admit_list(account, request, self.market.quote(symbol))
        now, first_id = self.clock.now_ms(), self.book.next_order_id
        orders = [
            self._new_order(account, leg, admitted.quantity, first_id + index)
            for index, leg in enumerate((request.stop, request.target))
        ]
        made = OrderList(
            id=self.book.next_list_id,
            account=account,
            pair=PAIRS[symbol],
            client_id=request.client_id,
            side=request.stop.side,
            legs=tuple((order.id, order.client_id) for order in orders),
            created_ms=now,
            updated_ms=now,
            locked=admitted.needed,
        )
        for order in orders:
            order.list_id, order.plan = made.id, plan
        self._commit([list_event(made), *map(accepted_event, orders)])
        return self.book.lists[made.id]

    def _new_order(
        self, account: Account, request: OrderRequest, quantity: Decimal, order_id: int
    ) -> Order:
        now = self.clock.now_ms()
        return Order(
            id=order_id,
            account=account,
            pair=PAIRS[request.symbol],
            client_id=request.client_id,
            side=request.side,
            kind=request.kind,
            lifetime=request.lifetime,
            price=request.price or Decimal(0),
            quantity=quantity,
            quote_requested=request.quote_quantity or Decimal(0),
            created_ms=now,
            updated_ms=now,
            trigger=request.trigger,
            stop_price=request.stop_price or Decimal(0),
        )

    def cancel(self, orders: list[Order], cancel_client_id: str | None = None) -> None:
        """Cancel open orders in one step; `Refused(NOT_OPEN)` if any of them is not open.

        An order of an open list takes the other one with it.
        """
        if not all(order.is_open for order in orders):
            raise Refused(Refusal.NOT_OPEN)
        now = self.clock.now_ms()
        self._commit(self._cancelled(orders, EndReason.CLIENT, now, cancel_client_id))

    def _cancelled(
        self, orders: list[Order], reason: EndReason, now_ms: int, cancel_id: str | None = None
    ) -> list[Event]:
        ids: dict[int, None] = {}  # a set that keeps its order
        done: dict[int, None] = {}
        for order in orders:
            its_list = self.book.open_list_of(order)
            if its_list is None:
                ids[order.id] = None
            else:
                ids.update(dict.fromkeys(order_id for order_id, _ in its_list.legs))
                done[its_list.id] = None
        cancelled = OrderStatus.CANCELLED
        # The lists first: what they had locked is free when the orders' ends are told.
        events = [list_done_event(list_id, now_ms) for list_id in done]
        events += [ended_event(order_id, cancelled, reason, now_ms, cancel_id) for order_id in ids]
        return events

    def _look(self, symbol: str) -> Look:
        return Look(
            quote=self.market.quote(symbol),
            now_ms=self.clock.now_ms(),
            machine_ms=self.clock.machine_ms(),
            trade_id=self.book.next_trade_id,
        )

    # Time and prices

    def tick(self) -> None:
        """Move every price by one step and fill the resting orders it has reached."""
        machine = self.clock.machine_ms()
        closed: list[tuple[str, list[object]]] = []
        for step in self.market.advance(self.clock.market_ms()):
            closed += [(step.symbol, list[object](minute)) for minute in step.closed]
            if step.trade is not None:
                self._after_price(step.trade)
        if closed:
            self._journal.append([minutes_event(closed)])
        if machine - self._prices_kept_ms >= (_PRICES_EVERY_MS if self.clock.speed == 1 else 1000):
            self._prices_kept_ms = machine
            self._journal.append([prices_event(self.market)])

    def set_price(self, pair: Pair, price: Decimal | None, *, freeze: bool | None) -> None:
        """Jump to a price (None: stay), stop or restart the walk; reached orders fill at once."""
        market = self.market.pairs[pair.symbol]
        if freeze is not None:
            market.is_frozen = freeze
        if price is not None:
            trade, minutes = market.set_price(price, self.market.now_ms)
            if minutes:
                closed = [(pair.symbol, list[object](minute)) for minute in minutes]
                self._journal.append([minutes_event(closed)])
            self._journal.append([prices_event(self.market)])
            self._after_price(trade)
        else:
            self._journal.append([prices_event(self.market)])

    def _after_price(self, trade: PublicTrade) -> None:
        for listener in self.trade_listeners:
            listener(trade)
        if self.book.resting[trade.symbol]:
            self._match_resting(trade.symbol)

    def _match_resting(self, symbol: str) -> None:
        look = self._look(symbol)
        for order in list(self.book.resting[symbol].values()):
            if not order.is_open:  # an order before was the other of its list
                continue
            events = events_at(order, self.book.open_list_of(order), look)
            if events:
                self._commit(events)
                look = self._look(symbol)  # the next fill has another id

    def _commit(self, events: list[Event]) -> None:
        """Keep the events, apply them, tell the listeners: in this order."""
        if not events:
            return
        self._journal.append(events)
        for event in events:
            change = self.book.apply(event)
            if change is None:
                continue
            # An order's state moves on with the next event, so it is told one change at a time.
            for listener in self.change_listeners:
                listener(change)
