"""What a user's strategy is written against: `Strategy`, `price` and `fraction`, given by name.

A strategy imports none of them; they stand in its module before its first line runs. This is the
user's own world, so there are floats here and no `Decimal`; money is made of them on the host's
side (`answers`). Deliberately not here: running it (`sealed_child`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True, slots=True)
class Position:
    """What the strategy holds. Prices are None where there are none."""

    quantity: float
    entry_price: float | None
    stop_loss_price: float | None
    take_profit_price: float | None


class Strategy(ABC):
    """Base of every strategy. A new instance is made for each closed candle.

    `candles`: a DataFrame with open, high, low, close and volume as floats, oldest first, the last
    one just closed; its index is when each candle opened, in UTC. It is the instance's own copy.
    `balance`: free quote currency. `position`: a `Position`, or None when nothing is held.
    """

    def __init__(
        self, candles: pd.DataFrame, balance: float, position: Position | None = None
    ) -> None:
        self.candles = candles
        self.balance = balance
        self.position = position

    @abstractmethod
    def should_long(self) -> bool:
        """Whether to buy now. Asked when nothing is held."""

    @abstractmethod
    def should_short(self) -> bool:
        """Whether to sell now. Asked when something is held; on spot, all of it is sold."""

    @abstractmethod
    def calculate_position_size(self) -> float:
        """How much quote currency to spend. Asked after `should_long` said True."""

    @abstractmethod
    def calculate_stop_loss(self) -> float | None:
        """Where to stop: 0.02 for 2 % below the fill, or a price; None for no stop."""

    @abstractmethod
    def calculate_take_profit(self) -> float | None:
        """Where to take the profit: 0.04 for 4 % above the fill, or a price; None for none."""


class Price(float):
    """A level that is certainly a price."""


class Fraction(float):
    """A level that is certainly a fraction of the fill's price."""


def price(value: Any) -> Price:
    """Say that a stop or target is a price: `return price(0.0212)`."""
    return Price(value)


def fraction(value: Any) -> Fraction:
    """Say that a stop or target is a fraction of the fill's price: `return fraction(0.02)`."""
    return Fraction(value)


#: What stands in a strategy's module before its first line.
GIVEN: dict[str, object] = {"Strategy": Strategy, "price": price, "fraction": fraction}
