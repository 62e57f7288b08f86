"""The simulated market: a seeded random walk or recorded trades per pair, spread and candles.

Each pair has a random generator of its own, so the same seed gives the same prices whatever else
happens. All times are the market's (see `clock`); it advances in steps, so that trades of all
pairs come in the order of their time however fast it runs. The market knows no orders and no
accounts: `matching.Exchange` asks it for quotes and tells its listeners about new prices.
Liquidity is unlimited at the best bid and ask.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from aristobot.simulator.candles import Candle, CandleHistory
from aristobot.simulator.pairs import Pair
from aristobot.simulator.replay import RecordedTrade, Recording

_SIGMA_PER_MINUTE = 0.0005
_HALF_SPREAD = Decimal("0.00005")
_ONE = Decimal(1)
_TRADE_IDS_PER_SECOND = 100
#: Steps that one tick is divided into when the market's time runs fast: so many trades at least.
_MOST_STEPS = 10
_RESERVE_MS = 1_500


class Quote(NamedTuple):
    """Best prices now and the last traded one."""

    bid: Decimal
    ask: Decimal
    last: Decimal


class PublicTrade(NamedTuple):
    """One trade of the anonymous market. Its ids are numbered apart from accounts' fills."""

    id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    time_ms: int
    is_buyer_maker: bool


class PairMarket:
    """One pair's price, recent trades and candles."""

    def __init__(self, pair: Pair, seed: int, now_ms: int) -> None:
        self.pair = pair
        self.price = pair.start_price
        # The walk goes on between ticks: many steps are finer than a tick and must add up.
        self._exact = float(pair.start_price)
        self.is_frozen = False
        self.trades: deque[PublicTrade] = deque(maxlen=1_000)
        self._dice = random.Random(f"{seed}:{pair.symbol}")
        #: How far a step goes, relative to the price.
        self.sigma = _SIGMA_PER_MINUTE
        # Ids grow with time, so a restart never gives an id twice.
        self._next_trade_id = now_ms // 1000 * _TRADE_IDS_PER_SECOND
        self.recording: Recording | None = None
        self._played = 0
        self.candles = CandleHistory(self.price, now_ms)
        self._quote = self._make_quote()

    @property
    def quote(self) -> Quote:
        return self._quote

    def invent_past(self) -> None:
        """Give a new market a past to be charted."""
        self.candles.invent_past(random.Random(f"{self.pair.symbol}:past"))

    def step(self, now_ms: int) -> tuple[PublicTrade, list[Candle]]:
        """Move the price by one tick (unless frozen) and trade once; also the minutes closed."""
        closed = self.candles.close_until(now_ms)
        if not self.is_frozen:
            self._exact *= math.exp(self.sigma * self._dice.gauss(0, 1))
            self._show(Decimal(self._exact))
        return self._trade(now_ms), closed

    def start(self, now_ms: int) -> None:
        """Stand at `now_ms`: what was recorded until then has happened, and nobody listened."""
        if self.recording is None:
            self._next_trade_id = max(self._next_trade_id, now_ms // 1000 * _TRADE_IDS_PER_SECOND)
        else:
            # The open minute was not kept: its trades are counted (again) from its beginning.
            self._played = self.recording.after(self.candles.open_minute.open_ms - 1)
            for recorded in self.due(now_ms):
                self.play(recorded)
        self.candles.close_until(now_ms)

    def due(self, until_ms: int) -> Sequence[RecordedTrade]:
        """The recorded trades until then that were not played; they count as played now."""
        if self.recording is None:
            return ()
        first, self._played = self._played, self.recording.after(until_ms)
        return self.recording.trades[first : self._played]

    def play(self, recorded: RecordedTrade) -> tuple[PublicTrade, list[Candle]]:
        """One recorded trade happens; also the minutes closed by it."""
        closed = self.candles.close_until(recorded.time_ms)
        self.put_price(recorded.price)
        trade = PublicTrade(
            recorded.id, self.pair.symbol, recorded.price, recorded.quantity, recorded.time_ms,
            not recorded.is_taker_buy,
        )  # fmt: skip
        self._happened(trade)
        return trade, closed

    def set_price(self, price: Decimal, now_ms: int) -> tuple[PublicTrade, list[Candle]]:
        """Jump to a price; it must be a positive multiple of the tick."""
        closed = self.candles.close_until(now_ms)
        self.put_price(price)
        return self._trade(now_ms), closed

    def put_price(self, price: Decimal) -> None:
        """Set the price without a trade (also used by the journal's replay)."""
        self._exact = float(price)
        self._show(price)

    def _show(self, price: Decimal) -> None:
        ticked = (price / self.pair.tick).to_integral_value(ROUND_HALF_UP) * self.pair.tick
        self.price = min(max(ticked, self.pair.tick * 2), self.pair.maximum_price)
        self._quote = self._make_quote()

    def _make_quote(self) -> Quote:
        tick = self.pair.tick
        half = max((self.price * _HALF_SPREAD / tick).to_integral_value(ROUND_HALF_UP), _ONE) * tick
        return Quote(self.price - half, self.price + half, self.price)

    def _trade(self, now_ms: int) -> PublicTrade:
        is_taker_buy = self._dice.random() < 0.5
        worth = Decimal(20 + int(self._dice.random() * 2_000))
        step = self.pair.quantity_step
        quantity = max((worth / self.price / step).to_integral_value(ROUND_HALF_UP), _ONE) * step
        trade = PublicTrade(
            self._next_trade_id, self.pair.symbol, self.price, quantity, now_ms, not is_taker_buy
        )
        self._happened(trade)
        return trade

    def _happened(self, trade: PublicTrade) -> None:
        self._next_trade_id = trade.id + 1
        self.trades.append(trade)
        self.candles.add_trade(
            trade.price,
            trade.quantity,
            is_taker_buy=not trade.is_buyer_maker,
            now_ms=trade.time_ms,
        )


class Step(NamedTuple):
    """One pair's minutes that closed, and the trade after them; None: only time has passed."""

    symbol: str
    trade: PublicTrade | None
    closed: list[Candle]


class Market:
    """All pairs. `pairs[symbol]` raises KeyError for an unlisted symbol.

    `speed`: how fast its time runs, so how much of it passes in `tick_seconds`.
    """

    def __init__(
        self,
        pairs: Mapping[str, Pair],
        *,
        seed: int,
        tick_seconds: float,
        now_ms: int,
        speed: float = 1.0,
        recordings: Mapping[str, Recording] | None = None,
    ) -> None:
        self._tick_seconds = tick_seconds
        #: The market's time up to which everything has happened.
        self.now_ms = now_ms
        #: How far a restart may find the market behind what was told; it begins after that.
        self.reserve_ms = 0
        self._step_ms = 1
        self.pairs: dict[str, PairMarket] = {
            symbol: PairMarket(pair, seed, now_ms) for symbol, pair in pairs.items()
        }
        self.set_speed(speed)
        for symbol, recording in (recordings or {}).items():
            self.pairs[symbol].recording = recording

    def set_speed(self, speed: float) -> None:
        """Know how much of its time passes in a tick; the caller lets it pass."""
        self.reserve_ms = 0 if speed == 1 else round(_RESERVE_MS * speed)
        self._step_ms = max(1, round(self._tick_seconds * 1000 * speed / _steps_per_tick(speed)))
        for pair in self.pairs.values():
            pair.sigma = _SIGMA_PER_MINUTE * math.sqrt(self._step_ms / 60_000)

    def start(self, now_ms: int) -> None:
        """Begin at `now_ms`, with the past that is missing until then. Recordings go on there."""
        self.now_ms = now_ms
        for pair in self.pairs.values():
            pair.start(now_ms)

    def invent_past(self) -> None:
        """Give every pair a past; a recorded one has none but its recording."""
        for pair in self.pairs.values():
            if pair.recording is None:
                pair.invent_past()

    def advance(self, now_ms: int) -> Iterator[Step]:
        """Everything that happens until `now_ms`, in the order of time.

        Prices stand where the last step that was taken left them, so the caller acts on each.
        """
        behind = now_ms - self.now_ms
        if behind <= 0:
            return
        # A machine that was stopped for a while makes longer steps, not thousands.
        count = max(1, min(round(behind / self._step_ms), _MOST_STEPS))
        started = self.now_ms
        for number in range(1, count + 1):
            until = started + behind * number // count
            yield from self._recorded(until)
            for symbol, pair in self.pairs.items():
                if pair.recording is None:
                    trade, closed = pair.step(until)
                    yield Step(symbol, trade, closed)
                elif closed := pair.candles.close_until(until):
                    yield Step(symbol, None, closed)
            self.now_ms = until

    def _recorded(self, until_ms: int) -> Iterator[Step]:
        """The recorded trades of all pairs until then, the oldest first."""
        due = [
            (recorded.time_ms, pair, recorded)
            for pair in self.pairs.values()
            if pair.recording is not None
            for recorded in pair.due(until_ms)
        ]
        for _, pair, recorded in sorted(due, key=lambda item: item[0]):
            trade, closed = pair.play(recorded)
            yield Step(pair.pair.symbol, trade, closed)

    def quote(self, symbol: str) -> Quote:
        return self.pairs[symbol].quote


def _steps_per_tick(speed: float) -> int:
    return max(1, min(math.ceil(speed), _MOST_STEPS))
