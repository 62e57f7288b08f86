"""The market's own time: it runs at its speed, never back, and recordings are played by it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from aristobot.core.errors import Misconfigured
from aristobot.simulator.candles import MINUTE_MS, from_units
from aristobot.simulator.market import PublicTrade
from aristobot.simulator.market_opening import change_speed
from aristobot.simulator.matching import Exchange
from aristobot.simulator.pairs import ASSETS, PAIRS
from aristobot.simulator.replay import read_recording
from aristobot.simulator.settings import SimulatorSettings, parse_replays
from tests.unit.simulator.test_exchange import StillClock

HEAD = "timestamp,id,side,price,amount\n"
BEGIN = 1_570_752_000_000
ROWS = "".join(
    f"{BEGIN + number * 20_000},{number + 1},{'sell' if number % 2 else 'buy'},"
    f"0.00{1400 + number % 7},{number % 5 + 1}.0\n"
    for number in range(60)
)


class _Fast(StillClock):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed


def _open(
    clock: StillClock, folder: Path | None = None, replay: Path | None = None
) -> tuple[Exchange, list[PublicTrade]]:
    replays = {"XRPETH": replay} if replay else {}
    exchange = Exchange(
        SimulatorSettings(data_dir=folder, seed=3, speed=clock.speed, replays=replays), clock
    )
    trades: list[PublicTrade] = []
    exchange.trade_listeners.append(trades.append)
    return exchange, trades


def _tick(exchange: Exchange, clock: StillClock, milliseconds: int, times: int = 1) -> None:
    for _ in range(times):
        clock.ms += milliseconds
        exchange.tick()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "trades.csv"
    file.write_text(HEAD + ROWS)
    return file


@pytest.fixture(autouse=True)
def _same_pairs_afterwards() -> object:
    pairs, assets = dict(PAIRS), list(ASSETS)
    yield
    PAIRS.clear()
    PAIRS.update(pairs)
    ASSETS[:] = assets


def test_the_market_runs_at_its_speed_and_the_exchange_does_not() -> None:
    clock = _Fast(60)
    exchange, trades = _open(clock)
    began, now = exchange.market.now_ms, clock.now_ms()
    _tick(exchange, clock, 500, times=20)
    assert exchange.market.now_ms - began == 600_000
    assert clock.now_ms() - now == 10_000
    times = [trade.time_ms for trade in trades]
    assert times == sorted(times), "in the order of time over all pairs"
    for symbol in ("BTCUSDT", "DOGEUSDT"):
        ids = [trade.id for trade in trades if trade.symbol == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids))), "consecutive"
        minutes = {t.time_ms // MINUTE_MS for t in trades if t.symbol == symbol}
        assert len(minutes) >= 10, "every minute of a fast market has trades"


@pytest.mark.parametrize("closed", [True, False])
def test_market_time_never_goes_back_over_a_restart(tmp_path: Path, closed: bool) -> None:
    clock = _Fast(60)
    exchange, trades = _open(clock, tmp_path)
    _tick(exchange, clock, 500, times=50)
    if closed:
        exchange.close()
    else:
        exchange._journal.close()  # as a kill leaves it: without the last prices
    told, last_id = trades[-1].time_ms, max(t.id for t in trades if t.symbol == "BTCUSDT")
    clock.ms += 100
    again, after = _open(clock, tmp_path)
    _tick(again, clock, 500)
    assert after[0].time_ms > told
    assert after[0].time_ms - told < 5 * 60_000, "nor does it leap"
    assert min(t.id for t in after if t.symbol == "BTCUSDT") > last_id
    again.close()


def test_the_speed_may_change_while_it_runs() -> None:
    clock = _Fast(60)
    exchange, trades = _open(clock)
    _tick(exchange, clock, 1000)
    change_speed(exchange.market, clock, 0)
    stood, count = exchange.market.now_ms, len(trades)
    _tick(exchange, clock, 1000, times=5)
    assert (exchange.market.now_ms, len(trades)) == (stood, count)
    change_speed(exchange.market, clock, 10)
    _tick(exchange, clock, 1000)
    assert exchange.market.now_ms == stood + 10_000


def test_a_minute_opens_with_its_first_trade() -> None:
    clock = _Fast(20)
    exchange, trades = _open(clock)
    _tick(exchange, clock, 500, times=30)
    minute = exchange.market.pairs["BTCUSDT"].candles.minutes[-1]
    mine = [
        t.price for t in trades
        if t.symbol == "BTCUSDT" and t.time_ms // MINUTE_MS == minute.open_ms // MINUTE_MS
    ]  # fmt: skip
    shown = (from_units(minute.open), from_units(minute.high), from_units(minute.low))
    assert shown == (mine[0], max(mine), min(mine))
    assert minute.trades == len(mine)


def test_recorded_trades_are_played_as_they_were(recording: Path) -> None:
    clock = _Fast(60)
    exchange, trades = _open(clock, replay=recording)
    assert exchange.market.now_ms == BEGIN - 1
    _tick(exchange, clock, 500, times=45)
    played = [t for t in trades if t.symbol == "XRPETH"]
    assert [t.id for t in played] == list(range(1, 61))
    assert [t.time_ms for t in played] == [BEGIN + n * 20_000 for n in range(60)]
    assert {t.is_buyer_maker for t in played[1::2]} == {True}, "a taker sold"
    candles = exchange.market.pairs["XRPETH"].candles
    assert [m.trades for m in list(candles.minutes)[:21]] == [0] + [3] * 20
    assert exchange.market.quote("XRPETH").last == played[-1].price
    assert (PAIRS["XRPETH"].tick, PAIRS["XRPETH"].quantity_step) == (
        Decimal("0.000001"),
        Decimal(1),
    )
    assert {"XRP", "ETH"} <= set(ASSETS)


def test_a_restarted_recording_goes_on_and_its_candles_are_whole(
    recording: Path, tmp_path: Path
) -> None:
    clock = _Fast(60)
    exchange, trades = _open(clock, tmp_path / "state", recording)
    _tick(exchange, clock, 500, times=10)
    exchange._journal.close()
    again, after = _open(clock, tmp_path / "state", recording)
    _tick(again, clock, 500, times=40)
    before = [trade.id for trade in trades if trade.symbol == "XRPETH"]
    assert next(t.id for t in after if t.symbol == "XRPETH") > before[-1]
    minutes = list(again.market.pairs["XRPETH"].candles.minutes)
    assert [minute.trades for minute in minutes[:21]] == [0] + [3] * 20
    again.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column"),
        (HEAD, "no trades"),
        (HEAD + "x,1,buy,1,1\n", "line 2"),
        (HEAD + "1,1,hold,1,1\n", "line 2"),
        (HEAD + "1,1,buy,0,1\n", "above zero"),
        (HEAD + "1,1,buy,0.000000001,1\n", "finer"),
        (HEAD + "2,1,buy,1,1\n1,2,buy,1,1\n", "line 3"),
    ],
)
def test_an_unusable_recording_is_told_with_its_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=reason):
        read_recording("XRPETH", file)


def test_a_recording_that_is_not_there_and_a_wrong_option_are_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="can't be read"):
        read_recording("XRPETH", tmp_path / "none.csv.gz")
    with pytest.raises(Misconfigured, match="SYMBOL=FILE"):
        parse_replays(["trades.csv"])
    assert parse_replays(["xrpeth=a=b.csv"]) == {"XRPETH": Path("a=b.csv")}
