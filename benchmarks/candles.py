"""Section: public trades made into candles, on one core.

Once the rules alone (trades in, candles of all timeframes out), and once with what the heartbeat
does before them: a trade's JSON from the socket, read and checked. One process, no I/O.
"""

from __future__ import annotations

import json
import random
import time
from decimal import Decimal
from pathlib import Path

from aristobot.core.candle_builder import CandleBuilder, Trade
from aristobot.core.candle_ledger import CandleLedger
from aristobot.core.candles import Candle
from aristobot.exchanges.binance.market_stream import parse_trade
from benchmarks.report import Section

_SYMBOLS = tuple(f"COIN{number}USDT" for number in range(20))
_START_MS = 1_700_000_000_000
#: Between two trades of all symbols: some 500 a second, as a busy day has.
_BETWEEN_MS = 2


def run(folder: Path, *, quick: bool) -> Section:
    count = 200_000 if quick else 1_000_000
    section = Section(f"Trades to candles of {len(_SYMBOLS)} symbols, one core")
    trades = _trades(count)
    seconds, candles = _aggregate(trades)
    section.add("trades aggregated", count / seconds, "/s", note=f"{candles:,} candles of them")
    frames = [_frame(trade) for trade in trades[: count // 4]]
    started = time.perf_counter()
    builder, ledgers = _begin()
    for frame in frames:
        _take(builder, ledgers, parse_trade(json.loads(frame)["data"]))
    seconds = time.perf_counter() - started
    section.add("with reading their JSON", len(frames) / seconds, "/s")
    section.raw = {"trades": count, "symbols": len(_SYMBOLS)}
    return section


def _aggregate(trades: list[Trade]) -> tuple[float, int]:
    builder, ledgers = _begin()
    made = 0
    started = time.perf_counter()
    for trade in trades:
        made += _take(builder, ledgers, trade)
    return time.perf_counter() - started, made


def _begin() -> tuple[CandleBuilder, dict[str, CandleLedger]]:
    builder = CandleBuilder()
    builder.follow(_SYMBOLS, "benchmark")
    return builder, {symbol: CandleLedger() for symbol in _SYMBOLS}


def _take(builder: CandleBuilder, ledgers: dict[str, CandleLedger], trade: Trade) -> int:
    return sum(
        len(ledgers[outcome.symbol].add(outcome))
        for outcome in builder.take(trade)
        if isinstance(outcome, Candle)
    )


def _trades(count: int) -> list[Trade]:
    dice = random.Random(1)
    ids = dict.fromkeys(_SYMBOLS, 0)
    trades = []
    for number in range(count):
        symbol = dice.choice(_SYMBOLS)
        ids[symbol] += 1
        at = _START_MS + number * _BETWEEN_MS
        price = Decimal(dice.randrange(1_000_000, 1_100_000)).scaleb(-2)
        quantity = Decimal(dice.randrange(1, 1_000_000)).scaleb(-5)
        trades.append(Trade(symbol, ids[symbol], price, quantity, at, at))
    return trades


def _frame(trade: Trade) -> str:
    return json.dumps(
        {
            "stream": f"{trade.symbol.lower()}@trade",
            "data": {
                "e": "trade", "E": trade.event_ms, "s": trade.symbol, "t": trade.id,
                "p": str(trade.price), "q": str(trade.quantity), "T": trade.time_ms,
                "m": True, "M": True,
            },
        }
    )  # fmt: skip
