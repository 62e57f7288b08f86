"""What must hold once the storm is over: nothing lost, nothing doubled, and both books agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.fault.ledger import Account, Ledger, Row, differences

if TYPE_CHECKING:
    from tests.fault.chaos import Sent

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Kill:
    """A SIGKILL, by the wall clock."""

    part: str
    at: float


@dataclass
class Audit:
    """The counts of a run, and every sentence that should not be true."""

    counts: dict[str, int]
    violations: list[str]
    kills: int = 0
    answers: int = 0
    #: Per part: how often it was killed, and the longest time until it worked again, in seconds.
    recoveries: dict[str, tuple[int, float]] = field(default_factory=dict)
    #: From the first 200 to the order's acceptance, in seconds, of the slowest signal.
    slowest: float = 0.0

    def table(self) -> Table:
        table = Table(title="Chaos")
        table.add_column("what")
        table.add_column("count", justify="right")
        table.add_column("longest until it worked again", justify="right")
        for what, count in self.counts.items():
            table.add_row(what, str(count), "")
        table.add_section()
        for part, (count, seconds) in sorted(self.recoveries.items()):
            table.add_row(f"kills of {part}", str(count), f"{seconds:.1f} s")
        table.add_row("slowest signal, webhook to order", "", f"{self.slowest:.1f} s")
        return table


def audit(ledger: Ledger, accounts: Mapping[str, Account], sent: Sequence[Sent]) -> Audit:
    """Compare what the senders were told, what the platform wrote, and what the exchange did.

    Of the brokers in `accounts`, whatever else the platform has.
    """
    brokers = list(accounts)
    webhooks = ledger.rows(
        "SELECT id, broker, indicator, outcome, code, command_id, received_at FROM webhooks "
        "WHERE broker = ANY($1)",
        brokers,
    )
    orders = ledger.rows("SELECT * FROM orders WHERE broker = ANY($1)", brokers)
    placed = [row for account in accounts.values() for row in account.orders()]
    outbox = ledger.outbox(*brokers)
    found = [
        *_lost_answers(webhooks, sent),
        *_signals(webhooks, orders, placed, sent),
        *_books(orders, placed),
        *_fills(ledger, brokers),
        *_positions(ledger, accounts),
    ]
    if outbox:
        found.append(f"{outbox} messages are left in the outbox")
    outcomes = Counter(f"{row['outcome']} {row['code'] or ''}".strip() for row in webhooks)
    unanswered = [each for each in sent if not each.ids]
    placed_names = {row["indicator"] for row in webhooks if row["command_id"]}
    counts = {
        "distinct signals": len(sent),
        "copies of them": sum(each.copies for each in sent),
        "signals answered 200": sum(1 for each in sent if each.ids),
        "signals never answered 200": len(unanswered),
        "... of which have an order": sum(e.signal.name in placed_names for e in unanswered),
        "attempts that failed (503, connection)": sum(each.failures for each in sent),
        "webhook rows": len(webhooks),
        **{f"... {outcome}": count for outcome, count in sorted(outcomes.items())},
        "order rows": len(orders),
        "... sent more than once": sum(row["attempt"] > 1 for row in orders),
        "orders at the exchange": len(placed),
    }
    return Audit(counts, found, slowest=_slowest(webhooks, orders))


def _lost_answers(webhooks: list[Row], sent: Sequence[Sent]) -> list[str]:
    recorded = {row["id"] for row in webhooks}
    return [
        f"{each.signal.name}: answered 200 with {identifier}, and there is no such row"
        for each in sent
        for identifier in each.ids - recorded
    ]


def _signals(
    webhooks: list[Row], orders: list[Row], placed: list[Row], sent: Sequence[Sent]
) -> list[str]:
    """Each accepted signal has one order, the others one at most, and no order is left over."""
    commands = defaultdict(list)
    for row in webhooks:
        if row["command_id"]:
            commands[row["indicator"]].append(row["command_id"])
        if row["outcome"] != "ordered" and row["code"] != "repeated_signal":
            commands[row["indicator"]].append(f"{row['outcome']} {row['code']}")
    client_ids = {row["command_id"]: row["client_order_id"] for row in orders}
    at_exchange = Counter(row["client_id"] for row in placed)
    found = []
    wanted = set()
    for each in sent:
        ids = [client_ids.get(command, command) for command in commands[each.signal.name]]
        wanted.update(ids)
        count = sum(at_exchange[identifier] for identifier in ids)
        if count > 1 or (each.ids and count != 1):
            found.append(f"{each.signal.name} of {each.broker}: {count} orders ({ids})")
    found += [f"order {identifier} has no signal" for identifier in at_exchange.keys() - wanted]
    return found


def _books(orders: list[Row], placed: list[Row]) -> list[str]:
    at_exchange = {row["client_id"]: row for row in placed}
    found = []
    for order in orders:
        other = at_exchange.get(order["client_order_id"])
        if other is None:
            found.append(
                f"{order['client_order_id']} is {order['status']} ({order['code']}) here and "
                "unknown at the exchange"
            )
        else:
            found += differences(order, other)
            if order["status"] != "filled":
                found.append(f"{order['client_order_id']} ended {order['status']}")
    return found


def _fills(ledger: Ledger, brokers: list[str]) -> list[str]:
    rows = ledger.rows(
        "SELECT o.client_order_id, o.executed_quantity, sum(f.quantity) AS filled FROM orders o "
        "LEFT JOIN fills f USING (owner, broker, client_order_id) WHERE o.broker = ANY($1) "
        "GROUP BY o.client_order_id, o.executed_quantity",
        brokers,
    )
    return [
        f"{row['client_order_id']}: executed {row['executed_quantity']}, fills {row['filled']}"
        for row in rows
        if row["executed_quantity"] != (row["filled"] or _ZERO)
    ]


def _positions(ledger: Ledger, accounts: Mapping[str, Account]) -> list[str]:
    found = []
    for broker, account in accounts.items():
        ours = ledger.positions(broker)
        found += [
            f"{broker} {pair}: position {ours.get(pair, _ZERO)}, balance {held}"
            for pair, held in account.holdings().items()
            if ours.get(pair, _ZERO) != held
        ]
    return found


def _slowest(webhooks: list[Row], orders: list[Row]) -> float:
    received = {row["command_id"]: row["received_at"] for row in webhooks if row["command_id"]}
    return max(
        (
            (row["accepted_at"] - received[row["command_id"]]).total_seconds()
            for row in orders
            if row["accepted_at"] is not None and row["command_id"] in received
        ),
        default=0.0,
    )


def recoveries(
    ledger: Ledger, kills: Sequence[Kill], answers: Sequence[tuple[float, int]]
) -> dict[str, tuple[int, float]]:
    """Per part, the kills and the longest time until what it does was done again.

    Ingress and NATS: a 200. Engine and PostgreSQL: a webhook's row. A gateway: an order accepted.
    A kill after which nothing of the kind was left to do counts for nothing.
    """
    recorded = sorted(
        row["processed_at"].timestamp() for row in ledger.rows("SELECT processed_at FROM webhooks")
    )
    accepted: dict[str, list[float]] = defaultdict(list)
    for row in ledger.rows(
        "SELECT broker, accepted_at FROM orders WHERE accepted_at IS NOT NULL ORDER BY accepted_at"
    ):
        accepted[f"gateway-demo.{row['broker']}"].append(row["accepted_at"].timestamp())
    answered = sorted(moment for moment, status in answers if status == 200)
    signs: dict[str, Any] = {
        "ingress": answered,
        "nats": answered,
        "engine": recorded,
        "postgres": recorded,
        **accepted,
    }
    longest: dict[str, tuple[int, float]] = {}
    for kill in kills:
        count, seconds = longest.get(kill.part, (0, 0.0))
        later = [moment for moment in signs.get(kill.part, []) if moment > kill.at]
        longest[kill.part] = (count + 1, max(seconds, later[0] - kill.at if later else 0.0))
    return longest
