"""The buttons of a strategy as its user presses them, and the lists that show what came of it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from aristobot.core.orders import Side
from tests.harness.decider import Decider
from tests.harness.platform import Platform, eventually

NAME = "buttons-btc"


@pytest.fixture(scope="module")
def holding(platform: Platform) -> Decider:
    """A strategy that has bought, with its stop and target at the exchange."""
    decider = Decider(platform, "buttons", NAME)
    decider.apply()
    decider.decide(Side.BUY)
    decider.held("open")
    return decider


def _spec(platform: Platform) -> dict[str, Any]:
    (row,) = platform.rows(
        "SELECT spec FROM resources WHERE kind = 'ActiveStrategy' AND name = $1", NAME
    )
    spec: dict[str, Any] = json.loads(row["spec"])
    return spec


def _resting(platform: Platform) -> int:
    """How many stops and targets are at the exchange."""
    (row,) = platform.rows(
        "SELECT count(*) AS n FROM orders WHERE holder = $1 AND protects IS NOT NULL "
        "AND status = 'new'",
        f"strategy:{NAME}",
    )
    count: int = row["n"]
    return count


def test_from_a_position_to_its_end_by_the_buttons(platform: Platform, holding: Decider) -> None:
    """In the order in which a user would press them; each finds what the one before left."""
    (decision,) = [
        row for row in platform.json("decision", "list", "--json") if row["active_strategy"] == NAME
    ]
    assert (decision["outcome"], decision["side"]) == ("ordered", "buy")
    order = platform.json("order", "show", decision["client_order_id"], "--json")

    eventually(lambda: _resting(platform) == 2, what="stop and target")
    (guarded,) = [
        row
        for row in platform.json("positions", "list", "--json")
        if row["holder"] == f"strategy:{NAME}"
    ]
    assert guarded["at_exchange"].count(",") == 1
    average = Decimal(order["executed_quote"]) / Decimal(order["executed_quantity"])
    assert Decimal(guarded["entry_price"]) == pytest.approx(average, rel=Decimal("0.002"))
    assert Decimal(guarded["stop_loss_price"]) == pytest.approx(average / 2)
    assert Decimal(guarded["take_profit_price"]) == pytest.approx(average * 3 / 2)

    text = platform.run("strategy", "suspend", NAME).stdout
    assert "suspended; it holds 0.00" in text
    assert _spec(platform)["paused"] is True
    platform.run("strategy", "resume", NAME)
    assert "paused" not in _spec(platform)

    asked = platform.run("strategy", "stop", NAME, check=False)
    assert asked.returncode != 0  # nobody answered
    assert f"{NAME} holds 0.00" in asked.stdout
    assert "active" not in _spec(platform)
    assert "strategy sell" in platform.run("strategy", "stop", NAME, "--yes").stdout
    assert _spec(platform)["active"] is False
    assert "end" in _spec(platform)
    resumed = platform.run("strategy", "resume", NAME, check=False)
    assert resumed.returncode == 1
    assert "stopped, not suspended" in resumed.stderr

    kept = platform.run("strategy", "cancel-orders", NAME, check=False)
    assert kept.returncode != 0  # nobody answered
    assert "without a stop from then on" in kept.stdout
    cancelled = platform.run("strategy", "cancel-orders", NAME, "--yes").stdout
    assert cancelled == "BTCUSDT: 2 orders cancelled\n"
    assert _resting(platform) == 0
    assert "has no open order" in platform.run("strategy", "cancel-orders", NAME).stdout

    sold = platform.run("strategy", "sell", NAME).stdout
    assert sold.startswith("BTCUSDT: sold 0.00")
    holding.held("flat")
    assert "holds nothing" in platform.run("strategy", "sell", NAME).stdout
    eventually(lambda: not _resting(platform), what="stop and target being cancelled")
    newest = platform.json("decision", "list", "--json")[0]
    assert (newest["asked_by"], newest["side"]) == ("manual", "sell")


def test_a_strategy_that_is_not_there_is_named(platform: Platform) -> None:
    for button in ("stop", "sell", "cancel-orders"):
        done = platform.run("strategy", button, "nobody", check=False)
        assert done.returncode == 1
        assert "demo has no active strategy nobody" in done.stderr


def test_the_table_shows_what_kubectl_would(platform: Platform, holding: Decider) -> None:
    lines = platform.run("get", "activestrategies").stdout.splitlines()
    assert lines[0].split()[:7] == ["NAME", "READY", "STRATEGY", "BROKER", "SYMBOL", "TF", "PHASE"]
    (row,) = [line.split() for line in lines if line.startswith(NAME)]
    assert row[2:6] == ["never", "buttons", "BTCUSDT", "1m"]
