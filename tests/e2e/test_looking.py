"""Looking things up: whatever happened on the way of an alert can be found by a command."""

from __future__ import annotations

import json

import pytest

from tests.e2e.brokers import broker, wait_until_ready
from tests.harness.platform import Platform, eventually

BROKER = "looking"


@pytest.fixture(scope="module")
def looking(platform: Platform) -> Platform:
    platform.apply(broker(BROKER))
    wait_until_ready(platform, BROKER)
    return platform


def _send(platform: Platform, *arguments: str) -> str:
    """Send an alert and return the id of the webhook, once it is recorded."""
    command = ("webhook", "send", "--broker", BROKER, "--json", *arguments)
    webhook = str(json.loads(platform.run(*command).stdout)[0]["id"])
    eventually(
        lambda: platform.run("webhook", "show", webhook, check=False).returncode == 0,
        what="the webhook's row",
    )
    return webhook


def test_a_resting_order_can_be_seen_and_cancelled(looking: Platform) -> None:
    webhook = _send(
        looking,
        *("--action", "BuyLimit", "--symbol", "ETHUSDT", "--percent", "10", "--price", "3000"),
    )
    eventually(
        lambda: looking.json("webhook", "show", webhook, "--json")["order_status"] == "new",
        what="the resting order",
    )
    row = looking.json("webhook", "show", webhook, "--json")
    locked = {b["asset"]: b["locked"] for b in looking.json("balance", BROKER, "--json")}
    assert float(locked["USDT"]) > 900

    cancelled = looking.run("order", "cancel", row["client_order_id"]).stdout
    assert cancelled == f"order {row['client_order_id']} is cancelled\n"
    locked = {b["asset"]: b["locked"] for b in looking.json("balance", BROKER, "--json")}
    assert float(locked["USDT"]) == 0
    again = looking.run("order", "cancel", row["client_order_id"]).stdout
    assert again == "nothing to cancel: the order is cancelled\n"

    order = looking.json("order", "show", row["client_order_id"], "--json")
    assert [call["purpose"] for call in order["journal"]] == ["place", "cancel"]
    assert order["fills"] == []
    assert '"Action": BuyLimit' in row["body"]


def test_a_filled_order_shows_its_fills_its_calls_and_its_position(looking: Platform) -> None:
    webhook = _send(looking, *("--action", "BuyMarket", "--symbol", "SOLUSDT", "--percent", "10"))
    eventually(
        lambda: looking.json("webhook", "show", webhook, "--json")["order_status"] == "filled",
        what="the fill",
    )
    client_id = looking.json("webhook", "show", webhook, "--json")["client_order_id"]
    order = looking.json("order", "show", client_id, "--json")
    assert sum(float(fill["quantity"]) for fill in order["fills"]) == pytest.approx(
        float(order["executed_quantity"])
    )
    (placed,) = order["journal"]
    assert placed["status"] == 200
    assert placed["params"]["signature"] == "***"
    assert client_id in placed["answer"]

    def position() -> dict[str, str] | None:
        rows = looking.json("position", "list", "--json")
        return next(
            (r for r in rows if r["broker"] == BROKER and r["state"] == "open"),
            None,
        )

    held = eventually(position, what="the position")
    fees = sum(float(fill["fee"]) for fill in order["fills"])
    assert float(held["quantity"]) == pytest.approx(float(order["executed_quantity"]) - fees)
    for command in (("order", "show", client_id), ("webhook", "show", webhook)):
        assert client_id in looking.run(*command).stdout


@pytest.mark.parametrize(
    "command",
    [
        ("order", "show", "nonsense"),
        ("order", "cancel", "nonsense"),
        ("webhook", "show", "nonsense"),
        ("trace", "show", "nonsense"),
        ("balance", "nonsense"),
        ("webhook", "url", "nonsense"),
        ("get", "brokers", "nonsense"),
        ("get", "nonsense"),
        ("delete", "broker", "nonsense"),
        ("webhook", "send", "--file", "/nonsense"),
        ("webhook", "send"),
        ("apply", "-f", "/nonsense"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_said_in_one_sentence(
    looking: Platform, command: tuple[str, ...]
) -> None:
    done = looking.run(*command, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("aristobot: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_the_data_folder_is_for_its_user_alone(looking: Platform) -> None:
    assert looking.data.stat().st_mode & 0o777 == 0o700
