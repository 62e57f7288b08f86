"""Accounts and their balances: free and locked amounts that never go below zero.

Pure state, changed only by `book.Book` when it applies an event. An amount that would go negative
is a bug of the engine and raises at once, before anything is shown to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aristobot.simulator.orders import Order, OrderList, Trade

ZERO = Decimal(0)


class NegativeBalance(RuntimeError):
    """The engine tried to take more than is there; a bug, never a client's mistake."""


@dataclass(slots=True, eq=False, repr=False)
class Balance:
    """An asset's amount: `free` to use, `locked` in open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    def add_free(self, amount: Decimal) -> None:
        """Credit (or debit, when negative) the free part."""
        free = self.free + amount
        if free < ZERO:
            raise NegativeBalance("A free balance would fall below zero.")
        self.free = free

    def lock(self, amount: Decimal) -> None:
        """Move from free to locked (back, when negative)."""
        self.add_free(-amount)
        self.add_locked(amount)

    def add_locked(self, amount: Decimal) -> None:
        """Credit (or debit, when negative) the locked part."""
        locked = self.locked + amount
        if locked < ZERO:
            raise NegativeBalance("A locked balance would fall below zero.")
        self.locked = locked


@dataclass(slots=True, eq=False, repr=False)
class Account:
    """One API key's account with indexes over its orders, so that no query scans all of them."""

    api_key: str
    secret: bytes = field(repr=False)
    uid: int
    balances: dict[str, Balance] = field(default_factory=dict)
    updated_ms: int = 0
    orders: dict[str, list[Order]] = field(default_factory=dict)
    """Per symbol, oldest first (so by ascending id)."""
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    """Per symbol, oldest first."""
    open_orders: dict[str, dict[int, Order]] = field(default_factory=dict)
    """Per symbol, by id."""
    open_client_ids: set[str] = field(default_factory=set)
    latest_by_client_id: dict[tuple[str, str], Order] = field(default_factory=dict)
    """(symbol, client id) to the newest order that used it."""
    lists: dict[int, OrderList] = field(default_factory=dict)
    """By id, oldest first."""
    open_lists: dict[int, OrderList] = field(default_factory=dict)

    def balance(self, asset: str) -> Balance:
        """The asset's balance, created empty when the account never had the asset."""
        found = self.balances.get(asset)
        if found is None:
            found = self.balances[asset] = Balance()
        return found

    def free(self, asset: str) -> Decimal:
        """The free amount; zero for an asset the account never had."""
        found = self.balances.get(asset)
        return ZERO if found is None else found.free
