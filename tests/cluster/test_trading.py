"""On a cluster as on a laptop: an alert becomes an order, a candle becomes an order, once each."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from ipaddress import ip_address, ip_network

import pytest

from tests.cluster import documents
from tests.cluster.kubectl import Object
from tests.cluster.release import INGRESS_VARIABLE, NAMESPACE, OTHER_OWNER, Release, timed
from tests.cluster.waiting import eventually
from tests.e2e.independent import order_by_client_id
from tests.fault.ledger import Row
from tests.fault.scene import fresh

#: What a trace is expected to have passed, and in which service.
_ALERT_WAY = {
    "POST /webhook": "ingress",
    "process webhooks.received": "engine",
    "process orders.commands": "gateway",
    "POST binance": "gateway",
}
_CANDLE_WAY = {
    "send candles.closed": "heartbeat",
    "process candles.closed": "runner",
    "decide strategy": "runner",
    "process strategies.decided": "engine",
    "process orders.commands": "gateway",
    "POST binance": "gateway",
}

_COLUMNS = ["NAME", "READY", "STRATEGY", "BROKER", "SYMBOL", "TF", "POSITION", "AGE"]

both_owners = pytest.mark.parametrize("owner", [NAMESPACE, OTHER_OWNER])


def _the_trace_has(release: Release, trace_id: str, way: dict[str, str]) -> None:
    def whole() -> dict[str, str] | None:
        done = release.cli("trace", "show", trace_id, "--json", check=False)
        if done.returncode != 0:  # nothing of it is stored yet
            return None
        spans = {span["name"]: span["service"] for span in json.loads(done.stdout)}
        return spans if way.keys() <= spans.keys() else None

    spans = eventually(whole, seconds=30, what=f"the whole trace {trace_id}")
    assert {name: spans[name] for name in way} == way


def test_the_chart_s_own_test_passes(release: Release) -> None:
    assert "Succeeded" in release.test().stdout


@both_owners
def test_an_alert_through_the_ingress_becomes_one_order(release: Release, owner: str) -> None:
    name = f"alerts-{'own' if owner == NAMESPACE else 'other'}"
    watch = timed()
    release.owner(owner).apply(documents.broker(name))
    release.ready("broker", name, owner)
    print(f"\nBroker {name} from apply to Ready: {watch.seconds:.1f} s")
    url = release.webhook_url(name, owner)
    alert = fresh("e2e")
    first = release.accepted(url, alert.body)
    again = release.accepted(url, alert.body)
    assert (again["id"], again["duplicate"]) == (first["id"], True)
    order = release.order_of(first["id"])
    with release.ccxt(name, owner) as exchange:
        there = order_by_client_id(exchange, "BTCUSDT", order["client_order_id"])
        assert len(exchange.fetch_orders("BTC/USDT")) == 1
    assert there["status"] == "closed"
    assert Decimal(str(there["filled"])) == order["executed_quantity"]
    _the_trace_has(release, first["trace_id"], _ALERT_WAY)


def test_a_candle_becomes_a_strategy_s_protected_order(release: Release) -> None:
    owner = release.owner(OTHER_OWNER)
    watch = timed()
    owner.apply(
        documents.broker("candles", "strategy")
        + documents.strategy("eager")
        + documents.active("eager-btc", "eager", "candles")
    )
    found = release.ready("activestrategy", "eager-btc", OTHER_OWNER)
    print(f"\nBroker and ActiveStrategy from apply to Ready: {watch.seconds:.1f} s")
    assert found["status"]["phase"] == "Running"

    def entry() -> Row | None:
        rows = release.rows(
            "SELECT * FROM orders WHERE broker = 'candles' AND side = 'buy' AND status = 'filled'"
        )
        return rows[0] if rows else None

    order = eventually(entry, seconds=60, what="the strategy's order")
    assert order["asked_by"] == "strategy"

    def protection() -> list[Object] | None:
        with release.ccxt("candles", OTHER_OWNER) as exchange:
            legs = exchange.fetch_open_orders("BTC/USDT")
        return legs if len(legs) == 2 else None

    legs = eventually(protection, seconds=30, what="stop and target at the exchange")
    assert {leg["side"] for leg in legs} == {"sell"}
    _the_trace_has(release, order["trace_id"], _CANDLE_WAY)
    shown = owner.run("get", "astrat", "eager-btc").stdout.splitlines()
    assert shown[0].split() == _COLUMNS


def test_the_client_s_address_survives_the_ingress(release: Release) -> None:
    """What it claims to be does not: the ingress controller alone says who called."""
    release.kubectl.apply(documents.broker("addressed"))
    release.ready("broker", "addressed")
    url = release.webhook_url("addressed")
    claimed = {"x-forwarded-for": "52.89.214.238", "x-real-ip": "52.89.214.238"}
    release.accepted(url, fresh("addressed").body)
    release.accepted(url, fresh("claimed").body, **claimed)
    (source,) = release.sources("addressed", 2)
    assert ip_address(source) not in ip_network("10.42.0.0/16"), "it is a pod's"
    # From here to a kind cluster leads Docker's bridge, whose address it is then.
    if INGRESS_VARIABLE not in os.environ:
        assert source == release.own_address()
