"""The exchange itself: commands in, events to the journal, then to the book, then to listeners.

Every command is synchronous, so it is atomic among the server's tasks: it checks, builds its
events, writes them as one journal entry, applies them and tells the listeners. Whoever answers a
client afterwards answers what is already kept. Resting orders are looked at once per tick, and only
the open ones. Not here: any venue's words, HTTP, faults (a dialect passes a `FillPlan`).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal

from aristobot.core.errors import Misconfigured
from aristobot.core.orders import OrderStatus, Side
from aristobot.simulator.accounts import Account, NegativeBalance
from aristobot.simulator.book import (
    Book,
    Change,
    Event,
    accepted_event,
    account_event,
    balances_event,
    ended_event,
    filled_event,
)
from aristobot.simulator.clock import Clock
from aristobot.simulator.journal import FileJournal, Journal, MemoryJournal
from aristobot.simulator.market import Market, PublicTrade
from aristobot.simulator.market_memory import (
    is_market_event,
    market_snapshot,
    minutes_event,
    prices_event,
    restore_market,
)
from aristobot.simulator.orders import (
    EndReason,
    FillPlan,
    Kind,
    Lifetime,
    Order,
    OrderRequest,
    Refusal,
    Refused,
    Trade,
)
from aristobot.simulator.pairs import PAIRS, UNIT, Pair
from aristobot.simulator.rules import base_quantity, check_filters, execution_price, floor_to
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
        self.market = Market(
            PAIRS,
            seed=settings.seed,
            tick_seconds=settings.tick_seconds,
            now_ms=clock.machine_ms(),
        )
        self.book = Book(dict(PAIRS))
        self.change_listeners: list[ChangeListener] = []
        self.trade_listeners: list[TradeListener] = []
        self._prices_kept_ms = 0
        self._journal: Journal = MemoryJournal()
        if settings.data_dir is None:
            self.market.invent_past()
        else:
            self._journal = self._open_journal(FileJournal(settings.data_dir))

    def _open_journal(self, journal: FileJournal) -> FileJournal:
        try:
            has_history = self._replay(journal)
            if not has_history:
                self.market.invent_past()
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
            events += [
                ended_event(order.id, OrderStatus.CANCELLED, EndReason.ACCOUNT_RESET, now)
                for orders in existing.open_orders.values()
                for order in orders.values()
            ]
            events.append(["secret", api_key, secret])
        amounts = {asset: str(amount) for asset, amount in balances.items()}
        events.append(balances_event(api_key, amounts, now))
        self._commit(events)
        return self.book.accounts[api_key], existing is None

    # Orders

    def check(self, account: Account, request: OrderRequest) -> Decimal:
        """Raise `Refused` if the order would be refused now; returns its base quantity."""
        pair = PAIRS[request.symbol]
        quote = self.market.quote(request.symbol)
        quantity = base_quantity(request, pair, quote)
        check_filters(request, quantity, pair, quote)
        if request.client_id in account.open_client_ids:
            raise Refused(Refusal.DUPLICATE_CLIENT_ID)
        if request.kind is Kind.POST_ONLY and self._would_match(request):
            raise Refused(Refusal.WOULD_MATCH)
        if (
            request.kind is not Kind.MARKET
            and len(account.open_orders.get(request.symbol, ())) >= pair.maximum_open_orders
        ):
            raise Refused(Refusal.OPEN_ORDERS)
        needed = self._needed(request, quantity)
        if account.free(pair.quote if request.side is Side.BUY else pair.base) < needed:
            raise Refused(Refusal.INSUFFICIENT_BALANCE)
        return quantity

    def place(self, account: Account, request: OrderRequest, plan: FillPlan | None = None) -> Order:
        """Accept an order and fill what fills at once, or raise `Refused` (nothing happened).

        With a `plan` a fill that would be immediate is stretched: a fraction now, the rest later.
        """
        quantity = self.check(account, request)
        now = self.clock.now_ms()
        pair = PAIRS[request.symbol]
        price = execution_price(request.side, self.market.quote(request.symbol))
        order = Order(
            id=self.book.next_order_id,
            account=account,
            pair=pair,
            client_id=request.client_id,
            side=request.side,
            kind=request.kind,
            lifetime=request.lifetime,
            price=request.price or Decimal(0),
            quantity=quantity,
            quote_requested=request.quote_quantity or Decimal(0),
            created_ms=now,
            updated_ms=now,
            locked=self._needed(request, quantity),
        )
        fills_now = request.kind is Kind.MARKET or self._would_match(request)
        fill_quantity = quantity if fills_now else Decimal(0)
        can_rest = request.lifetime is Lifetime.GOOD_TILL_CANCELLED
        if plan is not None and (fills_now or can_rest):
            order.hold_until_ms = self.clock.machine_ms() + round(plan.seconds * 1000)
            if fills_now:
                order.fixed_price = price
                order.expires_when_due = plan.rest_expires
                fill_quantity = floor_to(quantity * plan.fraction, pair.quantity_step)
        events = [accepted_event(order)]
        if fill_quantity:
            events.append(self._fill(order, fill_quantity, price, now, is_maker=False))
        elif not fills_now and not can_rest:
            reason = (
                EndReason.NOT_FILLABLE_AT_ONCE
                if request.lifetime is Lifetime.FILL_OR_KILL
                else EndReason.IMMEDIATE_REMAINDER
            )
            events.append(ended_event(order.id, OrderStatus.EXPIRED, reason, now))
        self._commit(events)
        return self.book.orders[order.id]

    def cancel(self, orders: list[Order], cancel_client_id: str | None = None) -> None:
        """Cancel open orders in one step; `Refused(NOT_OPEN)` if any of them is not open."""
        if not all(order.is_open for order in orders):
            raise Refused(Refusal.NOT_OPEN)
        now = self.clock.now_ms()
        self._commit(
            [
                ended_event(
                    order.id, OrderStatus.CANCELLED, EndReason.CLIENT, now, cancel_client_id
                )
                for order in orders
            ]
        )

    def _would_match(self, request: OrderRequest) -> bool:
        if request.price is None:
            return True
        quote = self.market.quote(request.symbol)
        if request.side is Side.BUY:
            return request.price >= quote.ask
        return request.price <= quote.bid

    def _needed(self, request: OrderRequest, quantity: Decimal) -> Decimal:
        """What the order locks: quote at its limit (or the ask) for a buy, base for a sell."""
        if request.side is Side.SELL:
            return quantity
        return quantity * (request.price or self.market.quote(request.symbol).ask)

    def _fill(
        self, order: Order, quantity: Decimal, price: Decimal, now_ms: int, *, is_maker: bool,
        trade_offset: int = 0,
    ) -> Event:  # fmt: skip
        quote = quantity * price
        received = quantity if order.side is Side.BUY else quote
        return filled_event(
            Trade(
                id=self.book.next_trade_id + trade_offset,
                order=order,
                price=price,
                quantity=quantity,
                quote=quote,
                fee=(received * order.pair.fee_rate).quantize(UNIT, ROUND_DOWN),
                fee_asset=order.received_asset,
                time_ms=now_ms,
                is_maker=is_maker,
            )
        )

    # Time and prices

    def tick(self) -> None:
        """Move every price by one step and fill the resting orders it has reached."""
        machine = self.clock.machine_ms()
        closed: list[tuple[str, list[object]]] = []
        for symbol, pair in self.market.pairs.items():
            trade, minutes = pair.step(machine)
            closed += [(symbol, list(minute)) for minute in minutes]
            self._after_price(trade)
        if closed:
            self._journal.append([minutes_event(closed)])
        if machine - self._prices_kept_ms >= _PRICES_EVERY_MS:
            self._prices_kept_ms = machine
            self._journal.append([prices_event(self.market)])

    def set_price(self, pair: Pair, price: Decimal | None, *, freeze: bool | None) -> None:
        """Jump to a price (None: stay), stop or restart the walk; reached orders fill at once."""
        market = self.market.pairs[pair.symbol]
        if freeze is not None:
            market.is_frozen = freeze
        if price is not None:
            trade, minutes = market.set_price(price, self.clock.machine_ms())
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
        quote = self.market.quote(symbol)
        machine, now = self.clock.machine_ms(), self.clock.now_ms()
        events: list[Event] = []
        fills = 0
        for order in self.book.resting[symbol].values():
            price = order.price
            if order.hold_until_ms is not None:
                if machine < order.hold_until_ms:
                    continue
                if order.expires_when_due:
                    reason = EndReason.NO_LIQUIDITY
                    events.append(ended_event(order.id, OrderStatus.EXPIRED, reason, now))
                    continue
                price = order.fixed_price or order.price
            is_reached = quote.ask <= price if order.side is Side.BUY else quote.bid >= price
            if is_reached or order.fixed_price is not None:
                is_maker = order.fixed_price is None
                events.append(
                    self._fill(
                        order, order.remaining, price, now, is_maker=is_maker, trade_offset=fills
                    )
                )
                fills += 1
        if events:
            self._commit(events)

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
