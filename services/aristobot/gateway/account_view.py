"""The account as the exchange has it, kept fresh by the private stream and checked over REST.

Sizing asks this and not the exchange, because a balance call for each alert would use up the rate
limit. It is exact where it matters: after each of our own orders the view counts as outdated until
the stream has brought the balances that follow the order's own report, or a REST call made after
the order's answer has. Only times that the exchange itself put on orders and balances are compared,
never an estimate of its clock. They have whole milliseconds, and a market order is accepted (its
funds locked) and filled within one, each with balances of its own: so among equal times the
stream's order of events decides. Deliberately not here: orders and their states.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from aristobot.core.errors import Refused, Retryable
from aristobot.core.orders import is_final
from aristobot.core.symbols import SymbolRules
from aristobot.exchanges.port import Balance, BalancesUpdated, ExchangeClient, OrderReport

logger = logging.getLogger(__name__)

_STREAM_GRACE_SECONDS = 0.25
_PRICE_SECONDS = 1.0
_SYMBOLS_SECONDS = 3600.0
#: A stream that lost a message without breaking would go unnoticed; so look now and then.
_REFRESH_SECONDS = 60.0
_READ_ATTEMPTS = 5
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in the account's history: how far an order was at a time of the exchange."""

    at: datetime
    client_order_id: str
    executed_quantity: Decimal
    is_final: bool

    @classmethod
    def of(cls, report: OrderReport) -> _Moment:
        return cls(
            report.updated_at,
            report.client_order_id,
            report.executed_quantity,
            is_final(report.status),
        )

    def is_as_far_as(self, other: _Moment) -> bool:
        return (
            self.client_order_id == other.client_order_id
            and self.executed_quantity >= other.executed_quantity
            and self.is_final >= other.is_final
        )


class AccountView:
    """`base_of` maps each known symbol to its base asset; shared with the order book."""

    def __init__(self, client: ExchangeClient) -> None:
        self._client = client
        self._balances: dict[str, Balance] = {}
        self._is_loaded = False
        #: Everything that happened before this time is in the balances ...
        self._covered: datetime | None = None
        #: ... and what the stream had told of orders when it brought them.
        self._covered_order: _Moment | None = None
        #: The last that the stream told of an order; balances that follow it include it.
        self._told: _Moment | None = None
        #: The newest change that has to be in the balances before they count.
        self._needed: _Moment | None = None
        self._version = 0
        self._read_at = -_REFRESH_SECONDS
        self._is_live = False
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()
        self._symbols: Mapping[str, SymbolRules] = {}
        self._symbols_read_at = -_SYMBOLS_SECONDS
        self._prices: dict[str, tuple[float, Decimal]] = {}
        self.base_of: dict[str, str] = {}

    @property
    def is_live(self) -> bool:
        """Whether the private stream is connected."""
        return self._is_live

    def stream_connected(self) -> None:
        self._is_live = True
        self._read_at = -_REFRESH_SECONDS

    def stream_lost(self) -> None:
        self._is_live = False

    def order_changed(self, report: OrderReport) -> None:
        """An order of ours has moved: balances from before no longer count."""
        moment = _Moment.of(report)
        if self._needed is None or moment.at >= self._needed.at:
            self._needed = moment

    def stream_told(self, report: OrderReport) -> None:
        """The stream has come to this report; to be called before anything is awaited for it."""
        self._told = _Moment.of(report)

    def apply(self, update: BalancesUpdated) -> None:
        """Take balances from the stream, unless what is there is newer."""
        if self._covered is not None and update.at < self._covered:
            return
        for balance in update.balances:
            self._balances[balance.asset] = balance
        self._covered = update.at
        self._covered_order = self._told
        self._version += 1
        self._changed.set()

    async def balances(self) -> Mapping[str, Balance]:
        """Balances that reflect every order reported to `order_changed`.

        Raises `Retryable` when neither the stream nor REST can tell now.
        """
        if self._is_live and not self._is_current():
            with contextlib.suppress(TimeoutError):  # then REST tells
                async with asyncio.timeout(_STREAM_GRACE_SECONDS):
                    await self._wait_current()
        if not self._is_live or not self._is_current() or self._is_old():
            await self.refresh()
        return self._balances

    def _is_current(self) -> bool:
        if not self._is_loaded:
            return False
        if self._needed is None:
            return True
        if self._covered is None or self._covered < self._needed.at:
            return False
        return self._covered > self._needed.at or (
            self._covered_order is not None and self._covered_order.is_as_far_as(self._needed)
        )

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at > _REFRESH_SECONDS

    async def _wait_current(self) -> None:
        while not self._is_current():
            self._changed.clear()
            await self._changed.wait()

    async def refresh(self) -> None:
        """Read all balances over REST. Raises `Retryable`."""
        async with self._reading:
            for _ in range(_READ_ATTEMPTS):
                needed, version = self._needed, self._version
                account = await self._client.account()
                if self._version == version:
                    break
                # The stream moved on meanwhile, and the reply may be older than that: ask again.
            else:
                raise Retryable("the balances change faster than they can be read")
            self._balances = dict(account.balances)
            self._is_loaded = True
            self._read_at = time.monotonic()
            if needed is not None and (self._covered is None or needed.at >= self._covered):
                # Those orders were answered before we asked, so the reply has them.
                self._covered, self._covered_order = needed.at, needed

    async def rules(self, symbol: str) -> SymbolRules:
        """The symbol's rules. Raises `Refused("unknown_symbol")`."""
        if time.monotonic() - self._symbols_read_at > _SYMBOLS_SECONDS:
            await self.load_symbols()
        rules = self._symbols.get(symbol)
        if rules is None:
            raise Refused("unknown_symbol", f"{symbol} is not traded on this exchange")
        return rules

    def known_rules(self, symbol: str) -> SymbolRules | None:
        """The symbol's rules as they were last read; None if it isn't traded."""
        return self._symbols.get(symbol)

    async def load_symbols(self) -> None:
        self._symbols = await self._client.symbols()
        self._symbols_read_at = time.monotonic()
        self.base_of.update({symbol: rules.base for symbol, rules in self._symbols.items()})

    async def price(self, symbol: str) -> Decimal:
        """The latest price, at most a second old."""
        read_at, price = self._prices.get(symbol, (-_PRICE_SECONDS, _ZERO))
        if time.monotonic() - read_at > _PRICE_SECONDS:
            price = await self._client.price(symbol)
            self._prices[symbol] = (time.monotonic(), price)
        return price

    async def free(self, asset: str) -> Decimal:
        balance = (await self.balances()).get(asset)
        return balance.free if balance else _ZERO
