"""Each body as a real Pine script makes it: posted, recorded, filled, and traced from end to end.

All bodies are sent once, in the order of their names (buys before the sales of the same pair), to
a broker with the default policy; each test then looks at one body's whole journey.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bodies import body_paths, content_type, freshen
from tests.e2e.brokers import broker, post, set_price, wait_until_ready
from tests.e2e.independent import ccxt_of, order_by_client_id
from tests.harness.platform import Platform, eventually

BROKER = "bodies"
BODIES = body_paths()
#: The market at which their stops and targets make sense.
PRICES = {"BTCUSDT": "91912.34", "ETHUSDT": "3038.77", "SOLUSDT": "141.77"}
TRADING = [path for path in BODIES if "ping" not in path.name]

#: (service, span, the span above it) that every order's trace holds.
STEPS = (
    ("ingress", "POST /webhook", None),
    ("ingress", "send webhooks.received", "POST /webhook"),
    ("engine", "process webhooks.received", "send webhooks.received"),
    ("engine", "send gateway.query", "process webhooks.received"),
    ("gateway", "process gateway.query", "send gateway.query"),
    ("engine", "record webhook", "process webhooks.received"),
    ("engine", "send orders.commands", "record webhook"),
    ("gateway", "process orders.commands", "send orders.commands"),
    ("gateway", "POST binance", "process orders.commands"),
    ("engine", "process orders.events", "send orders.events"),
)
PING_STEPS = (*STEPS[:3], STEPS[5])


@dataclass
class Journeys:
    """What was sent, and what is found of it everywhere. Keyed by the body's path."""

    platform: Platform
    sent: Mapping[Path, bytes]
    answers: Mapping[Path, httpx.Response]
    webhooks: Mapping[str, dict[str, Any]]
    orders: Mapping[str, dict[str, Any]]
    exchange: Any

    def id_of(self, path: Path) -> str:
        return str(self.answers[path].json()["id"])

    def trace_of(self, path: Path) -> str:
        return str(self.answers[path].json()["trace_id"])

    def webhook(self, path: Path) -> dict[str, Any]:
        return self.webhooks[self.id_of(path)]

    def order(self, path: Path) -> dict[str, Any]:
        return self.orders[self.id_of(path)]


@pytest.fixture(scope="module")
def journeys(platform: Platform) -> Journeys:
    platform.apply(broker(BROKER))
    wait_until_ready(platform, BROKER)
    for symbol, price in PRICES.items():
        set_price(platform, symbol, price)
    url = platform.webhook_url(BROKER)
    sent, answers = {}, {}
    for path in BODIES:
        sent[path] = freshen(path.read_bytes(), datetime.now(UTC))
        answers[path] = post(url, sent[path], content_type(path))
        assert answers[path].status_code == 200, f"{path.name}: {answers[path].text}"
    ids = {answer.json()["id"] for answer in answers.values()}

    def all_recorded() -> dict[str, dict[str, Any]] | None:
        rows = {row["id"]: row for row in platform.webhooks()}
        return rows if ids <= rows.keys() else None

    def all_settled() -> dict[str, dict[str, Any]] | None:
        rows = {row["source_id"]: row for row in platform.orders() if row["protects"] is None}
        mine = [row for row in rows.values() if row["broker"] == BROKER]
        settled = len(mine) >= len(TRADING) and all(row["status"] == "filled" for row in mine)
        return rows if settled else None

    webhooks = eventually(all_recorded, seconds=30, what="every webhook being recorded")
    orders = eventually(all_settled, seconds=30, what="every order being filled")
    return Journeys(platform, sent, answers, webhooks, orders, ccxt_of(platform, BROKER))


def _complete_trace(
    platform: Platform, trace_id: str, steps: tuple[tuple[str, str, str | None], ...]
) -> list[dict[str, Any]]:
    """Spans arrive in batches, within a second of their end."""

    def look() -> list[dict[str, Any]] | None:
        spans = platform.spans(trace_id)
        found = {(span["service"], span["name"]) for span in spans}
        ids = {span["span_id"] for span in spans} | {None}
        complete = {(service, name) for service, name, _ in steps} <= found
        return spans if complete and all(s["parent_span_id"] in ids for s in spans) else None

    return eventually(look, seconds=20, what=f"the trace {trace_id} being complete")


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_the_webhook_is_recorded_byte_for_byte(journeys: Journeys, path: Path) -> None:
    row, answer = journeys.webhook(path), journeys.answers[path]
    assert answer.json()["duplicate"] is False
    assert answer.headers["x-trace-id"] == answer.json()["trace_id"] == row["trace_id"]
    assert row["traceparent"].split("-")[1] == row["trace_id"]
    assert row["broker"] == BROKER
    assert row["source"] == "127.0.0.1"
    assert row["content_type"] == content_type(path)
    assert (row["code"], row["reason"]) == (None, None)
    assert row["outcome"] == ("ordered" if path in TRADING else "processed")
    stored = journeys.platform.rows("SELECT body FROM webhooks WHERE id = $1", row["id"])
    assert stored[0]["body"] == journeys.sent[path]


@pytest.mark.parametrize("path", TRADING, ids=lambda path: path.stem)
def test_the_order_is_filled_on_the_exchange(journeys: Journeys, path: Path) -> None:
    row, order = journeys.webhook(path), journeys.order(path)
    assert order["command_id"] == row["command_id"]
    there = order_by_client_id(journeys.exchange, order["symbol"], order["client_order_id"])
    assert there["status"] == "closed"
    assert there["type"] == "market"
    assert there["side"] == ("sell" if "sell" in path.name else "buy") == order["side"]
    assert there["info"]["symbol"] == row["symbol"] == order["symbol"]
    assert there["id"] == order["exchange_order_id"]
    assert Decimal(there["info"]["executedQty"]) == Decimal(order["executed_quantity"]) > 0
    assert Decimal(there["info"]["cummulativeQuoteQty"]) == Decimal(order["executed_quote"]) > 0


def test_each_buy_spends_its_percent_of_what_was_free(journeys: Journeys) -> None:
    free = Decimal(10_000)
    buys = [path for path in TRADING if "sell" not in path.name]
    assert len(buys) == 15
    for path in buys:
        order = journeys.order(path)
        share = free * Decimal(journeys.webhook(path)["percent"]) / 100
        wanted = share.quantize(Decimal("1e-8"), ROUND_DOWN)
        assert Decimal(order["quote_quantity"]) == wanted, path.name
        assert Decimal(order["executed_quote"]) <= wanted
        free -= Decimal(order["executed_quote"])


def test_the_account_is_what_the_orders_made_of_it(journeys: Journeys) -> None:
    balance = journeys.exchange.fetch_balance()
    shown = {row["asset"]: row for row in journeys.platform.json("balance", BROKER, "--json")}
    for asset, row in shown.items():
        assert Decimal(row["free"]) == Decimal(str(balance[asset]["free"])), asset
    # All ETH was sold but for what is below the pair's step, half of the BTC is there.
    assert Decimal(str(balance["ETH"]["total"])) < Decimal("0.0001")
    assert balance["BTC"]["total"] > 0.005
    theirs = journeys.platform.simulator_orders(journeys.exchange.apiKey)
    ours = [row for row in journeys.platform.orders() if row["exchange_order_id"] is not None]
    mine = [row for row in ours if row["broker"] == BROKER]
    assert len(theirs) == len(mine), "an order that no alert asked for"
    assert len([row for row in mine if row["protects"] is None]) == len(TRADING)


def _is_of(span: dict[str, Any], order: dict[str, Any] | None) -> bool:
    """Not of a stop or target, which are placed in the same trace."""
    client_id = span["attributes"].get("aristobot.client_order_id")
    return order is None or client_id in (None, order["client_order_id"])


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_one_trace_shows_the_whole_journey(journeys: Journeys, path: Path) -> None:
    steps = STEPS if path in TRADING else PING_STEPS
    trace_id = journeys.trace_of(path)
    spans = _complete_trace(journeys.platform, trace_id, steps)
    assert {span["trace_id"] for span in spans} == {trace_id}
    by_id = {span["span_id"]: span for span in spans}
    assert len([span for span in spans if span["parent_span_id"] is None]) == 1
    order = journeys.order(path) if path in TRADING else None
    for service, name, above in steps:
        for span in (s for s in spans if s["name"] == name and _is_of(s, order)):
            assert span["service"] == service
            assert span["status"] != "error", span
            parent = by_id[span["parent_span_id"]]["name"] if span["parent_span_id"] else None
            assert parent == above, f"{name} stands below {parent}"
    if path not in TRADING:
        assert {span["service"] for span in spans} == {"ingress", "engine"}
        return
    assert order is not None
    (exchange_call,) = [s for s in spans if s["name"] == "POST binance" and _is_of(s, order)]
    attributes = exchange_call["attributes"]
    assert attributes["aristobot.client_order_id"] == order["client_order_id"]
    assert attributes["aristobot.symbol"] == order["symbol"]
    assert attributes["aristobot.outcome"] == "accepted"
    root = next(span for span in spans if span["parent_span_id"] is None)
    assert root["attributes"]["aristobot.webhook.id"] == journeys.id_of(path)
    assert root["start_ns"] <= exchange_call["start_ns"]


@pytest.mark.parametrize("path", TRADING, ids=lambda path: path.stem)
def test_the_trace_id_stands_on_every_row_and_in_every_log(journeys: Journeys, path: Path) -> None:
    platform, trace_id, order = journeys.platform, journeys.trace_of(path), journeys.order(path)
    assert order["trace_id"] == trace_id
    journal = platform.rows(
        "SELECT * FROM journal WHERE command_id = $1 AND purpose = 'place'", order["command_id"]
    )
    assert len(journal) == 1, "one request, one line in the journal"
    assert journal[0]["trace_id"] == trace_id
    assert (journal[0]["method"], journal[0]["path"]) == ("POST", "/api/v3/order")
    assert (journal[0]["asked_by"], journal[0]["status"]) == ("webhook", 200)
    parameters = json.loads(journal[0]["params"])
    assert parameters["newClientOrderId"] == order["client_order_id"]
    assert parameters.get("signature", "***") == "***"
    webhook_id, client_id = journeys.id_of(path), order["client_order_id"]
    for part, field, value in (
        ("ingress", "webhook_id", webhook_id),
        ("engine", "webhook_id", webhook_id),
        (f"gateway-demo.{BROKER}", "client_order_id", client_id),
    ):
        lines = [line for line in platform.log_lines(part) if line.get(field) == value]
        assert lines, f"{part} logged nothing of it"
        assert {line.get("trace_id") for line in lines} == {trace_id}
        assert {line["service"] for line in lines} == {part.partition("-")[0]}


@pytest.mark.parametrize("path", [BODIES[0], BODIES[-1]], ids=lambda path: path.stem)
def test_trace_show_tells_the_journey(journeys: Journeys, path: Path) -> None:
    platform, trace_id = journeys.platform, journeys.trace_of(path)
    steps = STEPS if path in TRADING else PING_STEPS
    complete = _complete_trace(platform, trace_id, steps)
    told = platform.json("trace", "show", trace_id, "--json")
    assert {span["span_id"] for span in told} >= {span["span_id"] for span in complete}
    assert {span["trace_id"] for span in told} == {trace_id}
    drawn = platform.run("trace", "show", trace_id).stdout
    for _, name, _ in steps:
        assert name in drawn
