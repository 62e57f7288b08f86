"""An alert's stop and target at the exchange, replaced by MAJ, and out of the way of a sale."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.e2e.brokers import broker, post, set_price, wait_until_ready
from tests.harness.platform import Platform, eventually

BROKER = "protected"


def send(platform: Platform, name: str, action: str, **fields: str) -> str:
    extra = "".join(f', "{key}": {value}' for key, value in fields.items())
    body = f'{{"Action": {action}, "Symbol": XRPUSDT, "IndicateurName": {name}{extra}}}'
    answer = post(platform.webhook_url(BROKER), body.encode())
    assert answer.status_code == 200
    return str(answer.json()["id"])


def outcome(platform: Platform, webhook_id: str) -> tuple[str, str | None]:
    def look() -> dict[str, Any] | None:
        return next((w for w in platform.webhooks() if w["id"] == webhook_id), None)

    row = eventually(look, what="the webhook's row")
    return row["outcome"], row["code"]


def open_orders(platform: Platform) -> dict[str, dict[str, Any]]:
    return {
        row["type"]: row
        for row in platform.orders()
        if row["broker"] == BROKER and row["status"] == "new"
    }


def at(platform: Platform, stop: str, target: str) -> dict[str, dict[str, Any]]:
    def look() -> dict[str, dict[str, Any]] | None:
        found = open_orders(platform)
        is_there = (
            found.keys() == {"stop_loss", "limit_maker"}
            and Decimal(found["stop_loss"]["stop_price"]) == Decimal(stop)
            and Decimal(found["limit_maker"]["price"]) == Decimal(target)
        )
        return found if is_there else None

    return eventually(look, seconds=20, what=f"a stop at {stop} and a target at {target}")


def is_flat(platform: Platform) -> bool:
    rows = platform.rows("SELECT state FROM positions WHERE broker = $1", BROKER)
    return [row["state"] for row in rows] == ["flat"]


def test_the_life_of_an_alerts_stop_and_target(platform: Platform) -> None:
    platform.apply(broker(BROKER))
    wait_until_ready(platform, BROKER)
    set_price(platform, "XRPUSDT", "2.2")
    nothing = send(platform, "early", "MAJ", PrixSL="2.0")
    assert outcome(platform, nothing) == ("processed", "no_position")
    wrong = send(platform, "wrong", "BuyMarket", PourCent="10", PrixSL="3.0")
    assert outcome(platform, wrong) == ("rejected", "bad_stop")

    bought = send(platform, "buy", "BuyMarket", PourCent="10", PrixSL="1.1", PrixTP="4.4")
    assert outcome(platform, bought) == ("ordered", None)
    first = at(platform, "1.1", "4.4")
    listed = platform.run("order", "list").stdout
    entry = next(row for row in platform.orders() if row["source_id"] == bought)
    assert {row["protects_order"] for row in first.values()} == {entry["client_order_id"]}
    assert {row["trace_id"] for row in first.values()} == {entry["trace_id"]}
    assert "STOP PRICE" in listed
    assert "PROTECTS ORDER" in listed

    moved = send(platform, "move", "MAJ", PrixSL="1.2")
    assert outcome(platform, moved) == ("processed", "replaced")
    at(platform, "1.2", "4.4")

    sold = send(platform, "sell", "SellMarket", PourCent="100")
    assert outcome(platform, sold) == ("ordered", None)
    eventually(lambda: not open_orders(platform), what="no order being left open")
    eventually(lambda: is_flat(platform), what="the flat position")

    again = send(platform, "again", "BuyMarket", PourCent="10", PrixSL="2.0", PrixTP="4.4")
    assert outcome(platform, again) == ("ordered", None)
    at(platform, "2.0", "4.4")
    assert not is_flat(platform)
    set_price(platform, "XRPUSDT", "1.9")
    eventually(lambda: is_flat(platform), what="the position that its stop has closed")
    assert not open_orders(platform)
