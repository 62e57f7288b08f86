"""A platform whose parts can be struck at chosen points, and what is asserted after each strike."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx
import psutil

from tests.fault.ledger import ORDER_WINDOW_MS, Account, Ledger, Row, Signal, differences, post
from tests.harness.platform import Platform, eventually

_FINAL = {"filled", "cancelled", "rejected", "expired"}
#: The window of an order, the margin after it, two starts of a process, and slack for a slow
#: machine: what an order may take that has to be proven absent first.
SETTLE_SECONDS = 45.0
_NOTHING = Decimal(0)
#: Below the quantity step of a pair that a test sells all of.
DUST = {"ETHUSDT": Decimal("0.0001")}
NOT_FOUND = '"code":-2013'


@dataclass
class Scene:
    """One broker of a running platform."""

    platform: Platform
    crash_points: Path
    broker: str
    url: str = ""
    account: Account = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger.of(self.platform)
        self.account = Account.of(self.platform, self.broker)
        self.url = self.platform.webhook_url(self.broker)

    @property
    def gateway(self) -> str:
        return f"gateway-demo.{self.broker}"

    def arm(self, part: str, point: str, action: str = "kill") -> Path:
        armed = self.crash_points / f"{part}.{point}"
        armed.write_text(action)
        return armed

    def send(self, alert: Signal) -> Row:
        """Post until answered 200, as TradingView does after a 5xx; the answer."""

        def try_it() -> Row | None:
            try:
                answer = post(self.url, alert.body)
            except httpx.TransportError:
                return None
            assert answer.status_code in (200, 503), answer.text
            found: Row | None = answer.json() if answer.status_code == 200 else None
            return found

        return eventually(try_it, seconds=20, what="a 200")

    def ended(self, alert: Signal) -> Row:
        """The alert's order once nothing can happen to it any more."""

        def look() -> Row | None:
            commands = [w["command_id"] for w in self.ledger.webhooks(alert.name)]
            order = self.ledger.order(commands[0]) if commands and commands[0] else None
            return order if order is not None and order["status"] in _FINAL else None

        return eventually(look, seconds=SETTLE_SECONDS, what=f"the end of {alert.name}'s order")

    def assert_filled_once(self, alert: Signal, answer: Row) -> Row:
        """The alert has exactly one order, and every row about it is right; the order's row."""
        order = self.ended(alert)
        (webhook,) = self.ledger.webhooks(alert.name)
        assert webhook["id"] == answer["id"]
        assert (webhook["outcome"], webhook["code"]) == ("ordered", None)
        assert webhook["command_id"] == order["command_id"]
        placed = [o for o in self.account.orders() if o["client_id"] == order["client_order_id"]]
        assert len(placed) == 1, f"{len(placed)} orders at the exchange"
        assert order["status"] == "filled"
        assert differences(order, placed[0]) == []
        self.assert_no_stray_orders()
        self.assert_positions()
        self.assert_absence_was_proven(order, placed[0])
        return order

    def assert_nothing_placed(self, order: Row) -> None:
        placed = [o for o in self.account.orders() if o["client_id"] == order["client_order_id"]]
        assert placed == []

    def assert_no_stray_orders(self) -> None:
        """The exchange has one order per row and no other."""
        ours = self.ledger.rows(
            "SELECT client_order_id FROM orders "
            "WHERE broker = $1 AND exchange_order_id IS NOT NULL",
            self.broker,
        )
        theirs = [o["client_id"] for o in self.account.orders()]
        assert sorted(row["client_order_id"] for row in ours) == sorted(theirs)

    def assert_positions(self) -> None:
        """Positions equal the exchange's balances, and nothing waits to be published.

        What a sale of everything leaves below the quantity step is dust and no position.
        """

        def look() -> bool:
            known = self.ledger.positions(self.broker)
            are_equal = all(
                known.get(pair, _NOTHING) == held
                or (not known.get(pair) and held < DUST.get(pair, _NOTHING))
                for pair, held in self.account.holdings().items()
            )
            return are_equal and self.ledger.outbox() == 0

        eventually(look, seconds=20, what="positions equal to the balances, and an empty outbox,")

    def assert_absence_was_proven(self, order: Row, placed: Row) -> None:
        """An order that was sent again was proven absent after its first window had ended."""
        if order["attempt"] == 1:
            return
        journal = self.ledger.journal(order["command_id"])
        turned_away = [row for row in journal if row["purpose"] == "place" and row["status"] != 200]
        proofs = [
            row
            for row in journal
            if row["purpose"] == "look-up" and NOT_FOUND in (row["answer"] or "")
        ]
        assert proofs, "sent again without a look-up that proved the absence"
        resent_ms = order["sent_timestamp_ms"]
        proven_ms = proofs[-1]["sent_at"].timestamp() * 1000
        assert placed["created_ms"] >= resent_ms - 1
        assert proven_ms <= resent_ms + 1
        if not turned_away:
            created_ms = order["created_at"].timestamp() * 1000
            assert proven_ms >= created_ms + ORDER_WINDOW_MS - 250

    def clear_faults(self) -> None:
        httpx.delete(
            f"{self.platform.simulator_url}/control/faults", timeout=10, trust_env=False
        ).raise_for_status()

    def unmute(self) -> None:
        """End the faults that withhold the stream's events."""
        url = f"{self.platform.simulator_url}/control/faults"
        for fault in httpx.get(url, timeout=10, trust_env=False).json():
            if fault["kind"] == "mute_stream":
                httpx.delete(f"{url}/{fault['id']}", timeout=10, trust_env=False)

    def let_go_on(self) -> None:
        """Continue whatever a failed test has left stopped."""
        assert self.platform.process is not None
        for process in psutil.Process(self.platform.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end just now
                if process.status() == psutil.STATUS_STOPPED:
                    process.resume()

    def pid(self, part: str) -> int:
        return self.platform.pids()[part]

    def wait_struck(self, armed: Path, seconds: float = 20.0) -> None:
        eventually(lambda: not armed.exists(), seconds=seconds, what=f"the strike {armed.name}")


def fresh(
    name: str,
    *,
    action: str = "BuyMarket",
    symbol: str = "BTCUSDT",
    percent: str = "1",
    stop: str | None = None,
    target: str | None = None,
) -> Signal:
    """A signal nobody has sent before."""
    return Signal(f"{name} {time.time_ns()}", action, symbol, percent, stop=stop, target=target)


@contextlib.contextmanager
def second_gateway(scene: Scene, pid: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another gateway with the environment of process `pid`, started by nobody's supervisor."""
    environment = psutil.Process(pid).environ()
    environment.pop("ARISTOBOT_ADMIN_PORT")
    environment["CRASH_PART"] = "second"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "aristobot", "gateway"),
                *("--broker", f"demo.{scene.broker}"),
            ],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)
