"""A position never stands without its stop and target longer than it takes to place them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aristobot.contracts.keys import protection_id
from aristobot.contracts.messages import WEBHOOK_HOLDER
from aristobot.core.orders import Side
from tests.component.gateway.conftest import HOLDER, Desk, Row, eventually, levels

OCO = "POST /api/v3/orderList/oco"
NOTHING = Decimal(0)


def prices(rows: list[Row]) -> list[Decimal]:
    """At which the stop and the target act."""
    return [row["stop_price"] or row["price"] for row in rows]


async def closed(desk: Desk) -> bool:
    free, locked = await desk.balance()
    return free + locked < Decimal("0.00001") and not await desk.open_at_exchange()


async def test_entry_gets_a_stop_and_a_target(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    stop, target = await desk.protected(entry)
    row = await desk.ended(entry)
    average = row["executed_quote"] / row["executed_quantity"]
    assert (stop["type"], target["type"]) == ("stop_loss", "limit_maker")
    assert 0 <= average * Decimal("0.98") - stop["stop_price"] < Decimal("0.01")
    assert 0 <= target["price"] - average * Decimal("1.04") < Decimal("0.01")
    # The fee of the purchase was taken from the coins: what is left, in whole lots, is covered.
    _, locked = await desk.balance()
    assert stop["quantity"] == target["quantity"] == locked
    assert Decimal("0.0998") < locked < Decimal("0.1")
    assert stop["list_id"] == target["list_id"]
    assert {stop["holder"], target["holder"]} == {HOLDER}
    assert {stop["trace_id"], target["trace_id"]} == {row["trace_id"]}
    await desk.assert_books_agree()


@pytest.mark.parametrize(
    ("protection", "kind"),
    [(levels("49000", None), "stop_loss"), (levels(None, "0.1"), "limit_maker")],
    ids=["stop", "target"],
)
async def test_one_level_alone(desk: Desk, protection: Any, kind: str) -> None:
    entry = await desk.buy("0.1", protection, 1)
    (order,) = await desk.protected(entry, 1)
    assert (order["type"], order["list_id"]) == (kind, None)
    await desk.assert_books_agree()


@pytest.mark.parametrize(("price", "hit"), [("48000", "stop"), ("53000", "target")])
async def test_hit_level_closes_the_position(desk: Desk, price: str, hit: str) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.price(price)
    await eventually(lambda: closed(desk), what="the closed position")
    ids = {role: protection_id(entry.command_id, role) for role in ("stop", "target")}
    told = await desk.told(ids.pop(hit), "filled")
    assert (told.holder, told.side) == (HOLDER, Side.SELL)
    assert told.executed_quantity == (await desk.protecting(status="filled"))[0]["quantity"]
    other = await desk.told(ids.popitem()[1], "expired")
    assert other.executed_quantity == 0
    await desk.assert_books_agree()


async def test_sale_of_all_takes_the_protection_away(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    held = (await desk.protected(entry))[0]["quantity"]
    sale = await desk.send(
        desk.command(Side.SELL, quantity=held, protection=levels("49000", "52000", str(held)))
    )
    row = await desk.ended(sale)
    assert (row["status"], row["executed_quantity"]) == ("filled", held)
    await eventually(lambda: closed(desk))
    assert [r["status"] for r in await desk.rows() if r["protects"]] == ["cancelled"] * 2
    await desk.assert_books_agree()


async def test_what_a_partial_sale_leaves_is_protected_again(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    old = await desk.protected(entry)
    # Levels as fractions mean the entry's price, so those in force stay in force.
    sale = await desk.send(
        desk.command(Side.SELL, quantity="0.04", protection=levels("0.02", "0.04", "0.0999"))
    )
    new = await desk.protected(sale)
    assert prices(new) == prices(old)
    assert {r["quantity"] for r in new} == {Decimal("0.0599")}
    assert len(await desk.open_at_exchange()) == 2
    await desk.assert_books_agree()


async def test_sale_that_names_no_levels_keeps_those_in_force(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    old = await desk.protected(entry)
    sale = await desk.send(desk.command(Side.SELL, quantity="0.04"))
    new = await desk.protected(sale)
    assert prices(new) == prices(old)
    assert {r["quantity"] for r in new} == {Decimal("0.0599")}


async def test_rejected_sale_leaves_the_position_protected(desk: Desk) -> None:
    """Cancelled for a sale that the exchange then refuses: protected again as it was."""
    await desk.buy("0.1", levels("0.02", "0.04"))
    sale = await desk.send(
        desk.command(
            Side.SELL, quantity="0.00000001", protection=levels("49000", "52000", "0.0999")
        )
    )
    assert (await desk.ended(sale))["status"] == "rejected"
    new = await desk.protected(sale)
    assert prices(new) == [49000, 52000]
    assert {r["quantity"] for r in new} == {Decimal("0.0999")}
    await desk.assert_books_agree()


async def test_sale_that_is_too_old_touches_nothing(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    sale = await desk.send(
        desk.command(
            Side.SELL,
            quantity="0.0999",
            protection=levels("49000", "52000", "0.0999"),
            valid_until=datetime.now(UTC) - timedelta(seconds=1),
        )
    )
    assert (await desk.ended(sale))["code"] == "expired"
    assert len(await desk.protected(entry)) == 2
    assert len(await desk.at_exchange()) == 3


async def test_sale_after_the_stop_was_hit_is_already_closed(desk: Desk) -> None:
    """The gateway was away while the stop was hit, and the seller doesn't know of it either."""
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    held = (await desk.protected(entry))[0]["quantity"]
    await desk.stop()
    await desk.price("48000")
    await eventually(lambda: closed(desk))
    sale = await desk.send(
        desk.command(Side.SELL, quantity=held, protection=levels("49000", "52000", str(held)))
    )
    await desk.start()
    row = await desk.ended(sale)
    assert (row["status"], row["code"]) == ("rejected", "already_closed")
    assert len(await desk.at_exchange()) == 3
    await desk.assert_books_agree()


async def test_second_entry_is_protected_together_with_the_first(desk: Desk) -> None:
    first = await desk.buy("0.1", levels("0.02", "0.04"))
    second = desk.command(Side.BUY, quantity="0.05", protection=levels("48000", "53000", "0.0999"))
    await desk.send(second)
    new = await desk.protected(second)
    assert prices(new) == [48000, 53000]
    _, locked = await desk.balance()
    assert {r["quantity"] for r in new} == {locked} == {Decimal("0.14985")}
    old = [r for r in await desk.rows() if r["protects"] == first.command_id]
    assert [r["status"] for r in old] == ["cancelled"] * 2
    await desk.assert_books_agree()


async def test_other_levels_replace_those_in_force(desk: Desk) -> None:
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    command = await desk.replace(levels("47000", "54000", "0.0999"))
    new = await desk.protected(command)
    assert prices(new) == [47000, 54000]
    assert {r["quantity"] for r in new} == {Decimal("0.0999")}
    old = [r for r in await desk.rows() if r["protects"] == entry.command_id]
    assert [r["status"] for r in old] == ["cancelled"] * 2
    # They hold for what a later sale leaves, too.
    sale = await desk.send(desk.command(Side.SELL, quantity="0.04"))
    assert prices(await desk.protected(sale)) == [47000, 54000]
    await desk.assert_books_agree()


async def test_other_levels_for_nothing_change_nothing(desk: Desk) -> None:
    """A stop was hit meanwhile, and whoever asks doesn't know of it yet."""
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.price("48000")
    await eventually(lambda: closed(desk))
    await desk.assert_books_agree()
    await desk.replace(levels("40000", "54000", "0.0999"))
    sale = await desk.send(
        desk.command(Side.SELL, quantity="0.0999", protection=levels("40000", "54000", "0.0999"))
    )
    assert (await desk.ended(sale))["code"] == "already_closed"
    assert len(await desk.at_exchange()) == 3


async def test_rejected_second_entry_leaves_the_first_alone(desk: Desk) -> None:
    first = await desk.buy("0.1", levels("0.02", "0.04"))
    second = await desk.send(
        desk.command(Side.BUY, quantity="90", protection=levels("48000", "53000", "0.0999"))
    )
    assert (await desk.ended(second))["status"] == "rejected"
    assert len(await desk.protected(first)) == 2
    assert len(await desk.open_at_exchange()) == 2


async def test_stop_that_was_passed_already_sells_at_market(desk: Desk) -> None:
    entry = desk.command(Side.BUY, quantity="0.1", protection=levels("51000", "60000"))
    await desk.send(entry)
    instead = protection_id(protection_id(entry.command_id, "stop"), "close")
    told = await desk.told(instead, "filled")
    assert (told.holder, told.executed_quantity) == (HOLDER, Decimal("0.0999"))
    assert await closed(desk)
    sold = [r for r in await desk.rows() if r["protects"] and r["status"] == "filled"]
    assert [r["type"] for r in sold] == ["market"]
    refused = [r for r in await desk.rows() if r["status"] == "rejected"]
    assert [r["code"] for r in refused] == ["would_trigger"] * 2
    await desk.assert_books_agree()


async def test_refused_target_leaves_the_stop(desk: Desk) -> None:
    """A target out of the exchange's price range makes it refuse the pair, and not the stop."""
    entry = await desk.buy("0.1", levels("49000", "999999"), 1)
    (stop,) = await desk.protected(entry, 1)
    assert (stop["type"], stop["stop_price"], stop["list_id"]) == ("stop_loss", 49000, None)
    refused = await desk.protecting(status="rejected")
    assert [row["type"] for row in refused] == ["stop_loss", "limit_maker"]
    await desk.assert_books_agree()


async def test_target_that_fills_in_part_does_not_stand_without_a_stop(desk: Desk) -> None:
    """The exchange ends the stop with the first part of the target's fill."""
    await desk.exchange.fault(
        "partial_fill", seconds=60, path=OCO, api_key=desk.api_key, fraction="0.5"
    )
    entry = await desk.buy("0.1", levels("49000", "52000"))
    stop, target = await desk.protected(entry)
    await desk.price("52500")
    # What is left gets a pair of its own, and the market has passed that one's target already.
    again = protection_id(protection_id(stop["command_id"], "stop"), "close")
    told = await desk.told(again, "filled")
    part = await desk.told(target["command_id"], "cancelled")
    assert told.executed_quantity + part.executed_quantity == Decimal("0.0999")
    assert part.executed_quantity > 0
    await eventually(lambda: closed(desk))
    await desk.assert_books_agree()


async def test_dust_is_said_to_be_unprotected(desk: Desk) -> None:
    entry = await desk.send(
        desk.command(Side.BUY, quantity="0.0001", protection=levels("0.02", "0.04"))
    )
    row = await desk.ended(entry)
    assert (row["status"], row["code"]) == ("filled", "unprotected")
    assert "worth less" in row["reason"]
    assert len(await desk.at_exchange()) == 1


async def test_two_holders_keep_their_own(desk: Desk) -> None:
    mine = await desk.buy("0.1", levels("0.02", "0.04"))
    alert = await desk.send(
        desk.command(
            Side.BUY, quantity="0.05", protection=levels("48000", "53000"), holder=WEBHOOK_HOLDER
        )
    )
    await desk.protected(alert)
    # A webhook's "100 %" counts what its own stops lock, and not what the strategy's do.
    assert (await desk.sizing(WEBHOOK_HOLDER)).free_base == Decimal("0.05") * Decimal(
        "0.999"
    ) + Decimal("0.0999") - Decimal("0.0999")
    sale = await desk.send(
        desk.command(
            Side.SELL,
            quantity="0.04995",
            protection=levels("48000", "53000", "0.04995"),
            holder=WEBHOOK_HOLDER,
        )
    )
    assert (await desk.ended(sale))["status"] == "filled"
    assert len(await desk.protected(mine)) == 2
    assert (await desk.balance())[1] == Decimal("0.0999")
    await desk.assert_books_agree()


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ({"kind": "answer_lost"}, 1),
        ({"kind": "error_5xx", "accepted": True}, 1),
        ({"kind": "error_5xx"}, 2),
        ({"kind": "rate_limit", "seconds": 1}, 2),
    ],
    ids=["answer lost", "503 after acceptance", "503 not accepted", "429"],
)
async def test_unknown_pair_is_resolved_and_never_doubled(
    desk: Desk, fault: Row, attempts: int
) -> None:
    await desk.exchange.fault(**fault, path=OCO, api_key=desk.api_key)
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    assert {r["attempt"] for r in await desk.protected(entry)} == {attempts}
    assert len(await desk.open_at_exchange()) == 2
    await desk.assert_books_agree()


async def test_sale_waits_for_an_unknown_pair(desk: Desk) -> None:
    """Nobody sells before it is known whether the coins are locked."""
    await desk.exchange.fault("answer_lost", path=OCO, api_key=desk.api_key)
    entry = await desk.send(
        desk.command(Side.BUY, quantity="0.1", protection=levels("0.02", "0.04"))
    )
    sale = await desk.send(
        desk.command(Side.SELL, quantity="0.0999", protection=levels("0.02", "0.04", "0.0999"))
    )
    assert (await desk.ended(sale))["status"] == "filled"
    assert (await desk.ended(entry))["status"] == "filled"
    await eventually(lambda: closed(desk))
    await desk.assert_books_agree()


async def test_cancel_whose_answer_is_lost(desk: Desk) -> None:
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.exchange.fault("answer_lost", path="DELETE /api/v3/order", api_key=desk.api_key)
    sale = await desk.send(
        desk.command(Side.SELL, quantity="0.0999", protection=levels("0.02", "0.04", "0.0999"))
    )
    assert (await desk.ended(sale))["status"] == "filled"
    await eventually(lambda: closed(desk))
    await desk.assert_books_agree()


async def test_limit_entry_is_protected_when_it_is_filled_or_cancelled(desk: Desk) -> None:
    entry = await desk.send(
        desk.command(Side.BUY, quantity="0.1", price="49500", protection=levels("0.02", "0.04"))
    )
    await eventually(desk.open_at_exchange)
    assert [r for r in await desk.rows() if r["protects"]] == []
    await desk.price("49000")
    stop, _ = await desk.protected(entry)
    assert stop["stop_price"] <= Decimal("49500") * Decimal("0.98")
    await desk.assert_books_agree()
