"""How the market is kept in the journal: prices now and then, and every closed minute.

The random generator's position is not kept: after a restart the walk goes on from the last kept
price with other steps, as a market does that nobody watched for a moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from aristobot.simulator.candles import Candle
from aristobot.simulator.market import Market

_PRICES, _MINUTES, _HISTORY = "prices", "minutes", "kept-candles"


def is_market_event(event: list[Any]) -> bool:
    """Whether `restore_market` takes the event (otherwise it is the book's)."""
    return event[0] in (_PRICES, _MINUTES, _HISTORY)


def prices_event(market: Market) -> list[Any]:
    """Every pair's price and whether its walk is stopped; and when the market may go on."""
    prices = {s: [str(pair.price), pair.is_frozen] for s, pair in market.pairs.items()}
    return [_PRICES, prices, market.now_ms + market.reserve_ms]


def minutes_event(closed: list[tuple[str, list[object]]]) -> list[Any]:
    """Minutes that closed, as (symbol, candle fields)."""
    return [_MINUTES, closed]


def market_snapshot(market: Market) -> Iterator[list[Any]]:
    """Events that restore candles and prices."""
    for symbol, pair in market.pairs.items():
        history = pair.candles
        tiers = [list(history.minutes), list(history.hours), list(history.days)]
        yield [_HISTORY, symbol, tiers, history.open_minute]
    yield prices_event(market)


def restore_market(market: Market, event: list[Any]) -> None:
    """Apply one kept event. A pair that is no longer listed is passed over."""
    kind = event[0]
    if kind == _PRICES:
        for symbol, (price, is_frozen) in event[1].items():
            if symbol in market.pairs:
                market.pairs[symbol].put_price(Decimal(price))
                market.pairs[symbol].is_frozen = is_frozen
        # Journals from before the market had a time of its own lack it.
        market.now_ms = max(market.now_ms, *event[2:])
    elif kind == _MINUTES:
        for symbol, fields in event[1]:
            if symbol in market.pairs:
                market.pairs[symbol].candles.take_closed(Candle(*fields))
    else:
        _, symbol, tiers, open_minute = event
        if symbol in market.pairs:
            history = market.pairs[symbol].candles
            for tier, rows in zip(
                (history.minutes, history.hours, history.days), tiers, strict=True
            ):
                tier.clear()
                tier.extend(Candle(*row) for row in rows)
            history.open_minute = Candle(*open_minute)
