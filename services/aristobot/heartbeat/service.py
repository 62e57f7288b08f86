"""The heartbeat of one market: trades in, closed candles out, and nothing that closes is lost.

Trades become minutes (`core.candle_builder`), minutes longer candles (`core.candle_ledger`), and
each is published and then stored. What was missed is fetched by `repair`, what is stored is checked
by `coherence`. Two replicas do all of this side by side and know nothing of each other: the stream
keeps one of two equal candles. Signals need NATS and the market alone, never the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord
from aristobot.contracts.messages import ClosedCandle, Message
from aristobot.contracts.streams import BROKERS_BUCKET, STRATEGIES_BUCKET, BrokerKey
from aristobot.core.candle_builder import CandleBuilder, Doubtful, Missed, Outcome, Trade, from_ms
from aristobot.core.candle_ledger import CandleLedger
from aristobot.core.candles import Candle
from aristobot.core.errors import Misconfigured
from aristobot.exchanges.port import MarketConnected, MarketLost, MarketStream, SymbolUnknown
from aristobot.heartbeat.coherence import Coherence
from aristobot.heartbeat.history import MinuteHistory
from aristobot.heartbeat.publisher import CandlePublisher
from aristobot.heartbeat.raw_feed import RawFeed
from aristobot.heartbeat.repair import Repair
from aristobot.heartbeat.store import HeartbeatStore, Status
from aristobot.platform import metrics
from aristobot.platform.bus import Bus
from aristobot.platform.kv_mirror import KvMirror

logger = logging.getLogger(__name__)

_STARTED = "the heartbeat started"
_RECONNECTED = "the market stream was lost"
_SILENT_SECONDS = 60.0
#: So many trades are taken before others get their turn.
_TRADES_AT_A_TIME = 200
#: Further off, the market's time is not ours (a recording, a simulator at speed): no lag to tell.
_LONGEST_LAG_SECONDS = 600.0
_MOST_AHEAD_SECONDS = 5.0

_Record = TypeVar("_Record", bound=Message)


class Heartbeat:
    def __init__(
        self,
        market: str,
        replica: str,
        *,
        symbols: Iterable[str],
        bus: Bus,
        store: HeartbeatStore,
        stream: MarketStream,
    ) -> None:
        self._market = market
        self._default_symbols = self._wanted = frozenset(symbols)
        self._bus = bus
        self._store = store
        self._stream = stream
        self._builder = CandleBuilder()
        self._ledgers: dict[str, CandleLedger] = {}
        self._strategies = KvMirror(bus, STRATEGIES_BUCKET, on_change=self._strategies_changed)
        self._broker_records = KvMirror(bus, BROKERS_BUCKET)
        self._publisher = CandlePublisher(bus, market, store.put)
        self._raw = RawFeed(bus, market, replica)
        #: Since when each symbol's candles are this replica's duty.
        self._covered_since: dict[str, datetime] = {}
        self._repair = Repair(
            MinuteHistory(bus, self._brokers),
            store,
            filled=self._filled,
            covers=self._covers,
        )
        self._coherence = Coherence(
            store,
            covered_since=self._covered_since,
            market_time=self._market_time,
            repair=self._repair.put,
            is_busy=self._repair.has_open,
            # What waits for NATS or the database is not missing.
            is_settled=lambda: not self._publisher.pending and not store.pending,
        )
        self._starting: set[str] = set()
        self._is_connected = False
        self._lost_reason = "not connected yet"
        self._last_message_at: datetime | None = None
        self._last_lag_ms: float | None = None
        self._started_at = datetime.now(UTC)

    async def run(self) -> None:
        """Until cancelled."""
        self._stream.follow(self._wanted)
        async with asyncio.TaskGroup() as tasks:
            for work, name in (
                (self._strategies.run(), "strategies"),
                (self._broker_records.run(), "brokers"),
                (self._publisher.run(), "publisher"),
                (self._raw.run(), "raw feed"),
                (self._repair.run(), "repair"),
                (self._coherence.run(), "coherence"),
                (self._follow(), "market"),
            ):
                tasks.create_task(work, name=name)

    def problems(self) -> list[str]:
        """What keeps the heartbeat from working now; empty when ready."""
        found = []
        if not self._bus.is_connected:
            found.append("NATS is not connected")
        if not self._is_connected:
            found.append(f"the market is not connected: {self._lost_reason}")
        elif self._silent_seconds() > _SILENT_SECONDS:
            found.append(f"the market has been silent for {self._silent_seconds():.0f} s")
        if self._store.is_away:
            found.append("candles are published but wait for the database")
        return found + self._coherence.problems()

    def status(self) -> Status:
        """What `heartbeat_status` shows of this replica now."""
        metrics.HEARTBEAT_OPEN_GAPS.labels(self._market).set(self._repair.open_gaps)
        metrics.HEARTBEAT_COHERENT.labels(self._market).set(self._coherence.is_coherent)
        return Status(
            started_at=self._started_at,
            updated_at=datetime.now(UTC),
            last_message_at=self._last_message_at,
            market_time=self._market_time(),
            lag_ms=self._last_lag_ms,
            is_connected=self._is_connected,
            symbols=len(self._builder.symbols),
            candles_published=self._publisher.published,
            open_gaps=self._repair.open_gaps,
            is_coherent=self._coherence.is_coherent,
        )

    async def _follow(self) -> None:
        taken = 0
        async for event in self._stream.events():
            match event:
                case Trade():
                    self._take(event)
                    taken += 1
                    if taken % _TRADES_AT_A_TIME == 0:
                        await asyncio.sleep(0)
                case MarketConnected(symbols=symbols):
                    self._connected(symbols)
                case MarketLost(reason=reason):
                    self._is_connected = False
                    self._lost_reason = reason
                case SymbolUnknown(symbol=symbol, reason=reason):
                    logger.error(
                        "the exchange has no such symbol", extra={"symbol": symbol, "why": reason}
                    )

    def _connected(self, symbols: frozenset[str]) -> None:
        logger.info("following", extra={"symbols": sorted(symbols)})
        self._is_connected = True
        symbols &= self._wanted  # one may have been given up since the exchange confirmed it
        new = symbols - self._ledgers.keys()
        self._starting |= new
        for symbol in new:
            self._ledgers[symbol] = CandleLedger()
        self._builder.follow(new, _STARTED)
        self._builder.follow(symbols - new, _RECONNECTED)

    def _take(self, trade: Trade) -> None:
        for outcome in self._builder.take(trade):
            self._closed(outcome)
        self._raw.put(trade)
        now = time.time()
        self._last_message_at = datetime.fromtimestamp(now, UTC)
        lag = now - trade.event_ms / 1000
        is_our_time = -_MOST_AHEAD_SECONDS < lag < _LONGEST_LAG_SECONDS
        self._last_lag_ms = lag * 1000 if is_our_time else None
        metrics.MARKET_TRADES.labels(self._market).inc()
        metrics.HEARTBEAT_LAST_MESSAGE.labels(self._market).set(now)

    def _closed(self, outcome: Outcome) -> None:
        match outcome:
            case Candle():
                self._tell(self._ledgers[outcome.symbol].add(outcome), is_late=False)
            case Missed(symbol=symbol):
                is_start = symbol in self._starting
                self._starting.discard(symbol)
                self._repair.put(outcome, is_start=is_start)
            case Doubtful():
                logger.error(
                    "a published candle lacks a trade",
                    extra={
                        "symbol": outcome.symbol,
                        "minute": outcome.open_time.isoformat(),
                        "why": outcome.reason,
                    },
                )
                metrics.CANDLES_DOUBTFUL.labels(self._market).inc()

    def _filled(self, minute: Candle, is_context: bool) -> None:
        ledger = self._ledgers.get(minute.symbol)
        if ledger is None:
            return  # not followed any more
        self._tell(ledger.add(minute, is_context=is_context), is_late=True)
        self._builder.learn_close(minute.symbol, minute.open_time, minute.close)

    def _tell(self, candles: Iterable[Candle], *, is_late: bool) -> None:
        now = self._market_time()
        for candle in candles:
            late = (now - candle.close_time).total_seconds() if is_late and now else 0.0
            self._publisher.put(
                ClosedCandle.of(self._market, candle, is_late=is_late, late_seconds=max(0.0, late))
            )

    def _covers(self, symbol: str, since: datetime) -> None:
        known = self._covered_since.get(symbol)
        self._covered_since[symbol] = since if known is None else min(known, since)

    def _market_time(self) -> datetime | None:
        return from_ms(self._builder.clock_ms) if self._builder.clock_ms else None

    def _silent_seconds(self) -> float:
        since = self._last_message_at or self._started_at
        return (datetime.now(UTC) - since).total_seconds()

    def _brokers(self) -> list[BrokerKey]:
        records = (
            _read(BrokerRecord, key, data) for key, data in self._broker_records.entries.items()
        )
        return [r.key for r in records if r is not None and r.market == self._market]

    def _strategies_changed(self, entries: Mapping[str, bytes]) -> None:
        """Follow the symbols of this market's active strategies beside the default ones."""
        records = (_read(ActiveStrategyRecord, key, data) for key, data in entries.items())
        wanted = self._default_symbols | {
            record.symbol
            for record in records
            if record is not None and record.active and record.market == self._market
        }
        try:
            self._stream.follow(wanted)
        except Misconfigured:
            logger.exception("too many symbols: those followed so far are kept")
            return
        self._wanted = wanted
        for symbol in self._ledgers.keys() - wanted:
            logger.info("no longer following", extra={"symbol": symbol})
            self._builder.forget(symbol)
            del self._ledgers[symbol]
            self._covered_since.pop(symbol, None)
            self._starting.discard(symbol)
            self._coherence.forget(symbol)


def _read(kind: type[_Record], key: str, data: bytes) -> _Record | None:
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        logger.exception("record can't be read", extra={"key": key})
        return None
