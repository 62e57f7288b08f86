"""Recorded trades as a market feed: a CSV file read whole, played by the market's time.

Columns `timestamp` (ms), `id`, `side` (the taker's), `price`, `amount`; gzip when the name ends in
`.gz`. The first trade is the beginning of the market's time, and ids stay as recorded. Not here:
when a trade is played (`market`).
"""

from __future__ import annotations

import csv
import gzip
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from aristobot.core.errors import Misconfigured
from aristobot.simulator.pairs import PAIRS, UNIT, Pair

_COLUMNS = ("timestamp", "id", "side", "price", "amount")
_QUOTES = ("USDT", "USDC", "BTC", "ETH", "BNB", "EUR", "USD")
_SYMBOL = re.compile(r"[A-Z0-9]{5,20}")


class RecordedTrade(NamedTuple):
    time_ms: int
    id: int
    is_taker_buy: bool
    price: Decimal
    quantity: Decimal


class Recording:
    """One symbol's recorded trades, oldest first; never empty."""

    def __init__(self, symbol: str, trades: Sequence[RecordedTrade]) -> None:
        self.symbol = symbol
        self.trades = trades
        self._times = [trade.time_ms for trade in trades]

    @property
    def starts_ms(self) -> int:
        return self.trades[0].time_ms

    def after(self, time_ms: int) -> int:
        """The index of the first trade later than `time_ms`."""
        return bisect_right(self._times, time_ms)


def read_recording(symbol: str, path: Path) -> Recording:
    """Raises `Misconfigured`, naming file and line, when it can't be used."""
    if not _SYMBOL.fullmatch(symbol):
        raise Misconfigured(f"{symbol!r} is no symbol: write --replay XRPETH=FILE.")
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open("rt") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise Misconfigured(f"{path} has no column {missing[0]!r}; it needs {_COLUMNS}.")
            trades = [_trade(row, path, number) for number, row in enumerate(rows, start=2)]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise Misconfigured(f"The recording {path} can't be read: {error}.") from error
    if not trades:
        raise Misconfigured(f"The recording {path} holds no trades.")
    for number, (before, after) in enumerate(pairwise(trades), start=3):
        if after.time_ms < before.time_ms or after.id <= before.id:
            raise Misconfigured(f"{path}, line {number}: not later than the trade before it.")
    return Recording(symbol, trades)


def _trade(row: Mapping[str, str], path: Path, number: int) -> RecordedTrade:
    try:
        trade = RecordedTrade(
            int(row["timestamp"]),
            int(row["id"]),
            {"buy": True, "sell": False}[row["side"]],
            Decimal(row["price"]),
            Decimal(row["amount"]),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise Misconfigured(f"{path}, line {number} can't be read: {error!r}.") from error
    if not (trade.price > 0 and trade.quantity > 0):
        raise Misconfigured(f"{path}, line {number}: price and amount must be above zero.")
    if any(amount % UNIT for amount in (trade.price, trade.quantity)):
        raise Misconfigured(f"{path}, line {number}: finer than the simulator's {UNIT:f}.")
    return trade


def pair_of(recording: Recording) -> Pair:
    """A pair that fits the recording: the listed one's rules, if it is listed.

    Raises `Misconfigured` when the symbol's quote asset can't be told.
    """
    symbol, price = recording.symbol, recording.trades[0].price
    tick = _step([trade.price for trade in recording.trades])
    step = _step([trade.quantity for trade in recording.trades])
    listed = PAIRS.get(symbol)
    if listed is not None:
        return replace(
            listed,
            start_price=price,
            tick=min(listed.tick, tick),
            quantity_step=min(listed.quantity_step, step),
        )
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), None)
    if quote is None:
        raise Misconfigured(f"{symbol}: its quote asset is none of {', '.join(_QUOTES)}.")
    return Pair(
        symbol=symbol,
        base=symbol.removesuffix(quote),
        quote=quote,
        start_price=price,
        tick=tick,
        quantity_step=step,
        maximum_price=Decimal(1_000_000),
        maximum_quantity=Decimal(9_000_000),
        maximum_market_quantity=Decimal(9_000_000),
        minimum_notional=Decimal("0.0001") if quote in ("BTC", "ETH", "BNB") else Decimal(5),
    )


def _step(amounts: Iterable[Decimal]) -> Decimal:
    """The finest power of ten that the amounts are multiples of, at most 1."""
    exponents = [amount.normalize().as_tuple().exponent for amount in amounts]
    return Decimal(1).scaleb(min(0, *(e for e in exponents if isinstance(e, int))))
