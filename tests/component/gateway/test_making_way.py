"""What we cancelled for a sale that never came is put back; what somebody else cancelled is not.

The predecessor here does what a gateway does until it is killed or held up in the middle of a sale:
it marks what protects the position, and cancels it at the exchange.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from aristobot.contracts.messages import AskedBy, CancelOrder, PlaceOrder
from aristobot.core.errors import Fenced
from aristobot.core.orders import Side
from aristobot.exchanges.registry import create_client
from aristobot.gateway.protection_book import ProtectionBook
from aristobot.gateway.transactions import Transactions
from tests.component.gateway.conftest import HOLDER, SYMBOL, Desk, Row, eventually, levels

HELD = Decimal("0.0999")
DELETE = "DELETE /api/v3/order"


@asynccontextmanager
async def client_of(desk: Desk) -> AsyncIterator[Any]:
    client = create_client(
        "binance",
        "simulator",
        api_key=desk.api_key,
        api_secret=desk.api_secret,
        base_url=desk.exchange.origin,
    )
    try:
        yield client
    finally:
        await client.close()


async def predecessor(desk: Desk) -> ProtectionBook:
    """A gateway's hold on its rows; from here on the desk's own is fenced."""
    transactions = Transactions(desk.database, desk.key, {})
    await transactions.take_lease("predecessor")
    return ProtectionBook(transactions, lambda _: None)


async def cancel_at_exchange(desk: Desk) -> None:
    """One of a pair, which ends both."""
    async with client_of(desk) as client:
        (stop, _) = await desk.protecting()
        await client.cancel(SYMBOL, stop["client_order_id"])
    assert await desk.open_at_exchange() == []


async def send_sale(desk: Desk, *, valid_seconds: float) -> PlaceOrder:
    return await desk.send(
        desk.command(
            Side.SELL,
            quantity="0.04",
            protection=levels("0.02", "0.04", str(HELD)),
            valid_until=datetime.now(UTC) + timedelta(seconds=valid_seconds),
        )
    )


async def assert_protected_as_before(desk: Desk, before: list[Row]) -> None:
    """One stop and one target at the exchange, for all that is held, at the prices of `before`."""

    async def look() -> bool:
        ours = await desk.protecting()
        theirs = {order["client_id"] for order in await desk.open_at_exchange()}
        return theirs == {row["client_order_id"] for row in ours} and [
            (row["quantity"], row["stop_price"], row["price"]) for row in ours
        ] == [(row["quantity"], row["stop_price"], row["price"]) for row in before]

    await eventually(look, what="the same stop and target again")
    await desk.assert_books_agree()


async def test_cancelled_for_a_sale_that_is_too_old_by_the_next_start(desk: Desk) -> None:
    before = await desk.protected(await desk.buy("0.1", levels("0.02", "0.04")))
    await desk.stop()
    await (await predecessor(desk)).make_way(SYMBOL, HOLDER)
    await cancel_at_exchange(desk)
    sale = await send_sale(desk, valid_seconds=-1)
    await desk.start()
    assert (await desk.ended(sale))["code"] == "expired"
    await assert_protected_as_before(desk, before)


async def test_cancelled_for_a_sale_that_never_comes_again(desk: Desk) -> None:
    before = await desk.protected(await desk.buy("0.1", levels("0.02", "0.04")))
    await desk.stop()
    await (await predecessor(desk)).make_way(SYMBOL, HOLDER)
    await cancel_at_exchange(desk)
    await desk.start()
    await assert_protected_as_before(desk, before)


async def test_cancelled_by_a_gateway_that_was_held_up_until_its_successor_had_refused(
    desk: Desk,
) -> None:
    before = await desk.protected(await desk.buy("0.1", levels("0.02", "0.04")))
    await desk.stop()
    await (await predecessor(desk)).make_way(SYMBOL, HOLDER)
    await desk.start()
    sale = await send_sale(desk, valid_seconds=-1)
    assert (await desk.ended(sale))["code"] == "expired"
    assert [row["command_id"] for row in await desk.protecting()] == [
        row["command_id"] for row in before
    ]
    await cancel_at_exchange(desk)
    await assert_protected_as_before(desk, before)


async def test_a_gateway_that_was_replaced_may_not_begin_to_cancel(desk: Desk) -> None:
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.stop()
    held_up = await predecessor(desk)
    await desk.start()

    async def is_fenced() -> bool:
        try:
            await held_up.make_way(SYMBOL, HOLDER)
        except Fenced:
            return True
        return False

    await eventually(is_fenced, seconds=5, what="the successor")


async def test_a_sale_that_becomes_too_old_while_it_cancels(desk: Desk) -> None:
    """The answer to the cancellation is lost, and nothing else tells of it in time."""
    before = await desk.protected(await desk.buy("0.1", levels("0.02", "0.04")))
    await desk.exchange.fault("mute_stream", seconds=3, api_key=desk.api_key)
    await desk.exchange.fault("answer_lost", path=DELETE, api_key=desk.api_key)
    sale = await send_sale(desk, valid_seconds=0.7)
    assert (await desk.ended(sale))["code"] == "expired"
    await assert_protected_as_before(desk, before)


async def test_a_sale_that_waits_to_come_again_finds_the_coins_free(desk: Desk) -> None:
    """Put back in between, they would have to be cancelled again and again."""
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.exchange.fault("answer_lost", path=DELETE, api_key=desk.api_key)
    sale = await send_sale(desk, valid_seconds=60)
    assert (await desk.ended(sale))["status"] == "filled"
    await desk.protected(sale)
    rows = [row for row in await desk.rows() if row["protects"] is not None]
    assert len(rows) == 4
    await desk.assert_books_agree()


@pytest.mark.parametrize("is_ours", [True, False], ids=["by command", "at the exchange"])
async def test_what_is_cancelled_by_hand_stays_so(desk: Desk, is_ours: bool) -> None:
    pair = await desk.protected(await desk.buy("0.1", levels("0.02", "0.04")))
    if is_ours:
        await desk.send(
            CancelOrder(
                command_id=secrets.token_hex(16),
                client_order_id=pair[0]["client_order_id"],
                owner=desk.key.owner,
                broker=desk.key.broker,
                symbol=SYMBOL,
                asked_by=AskedBy.MANUAL,
                caused_at=datetime.now(UTC),
            )
        )
    else:
        await cancel_at_exchange(desk)
    for row in pair:
        await desk.told(row["command_id"], "cancelled")
    # What is to follow is planned in the transaction that tells of it.
    rows = [row for row in await desk.rows() if row["protects"] is not None]
    assert [row["status"] for row in rows] == ["cancelled"] * 2


async def test_a_withdrawn_plan_touches_nothing_that_came_after_it(desk: Desk) -> None:
    """It waited for a sale's end, and that has planned what protects the position now."""
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.exchange.fault("error_5xx", path="POST /api/v3/order", api_key=desk.api_key)
    sale = await send_sale(desk, valid_seconds=60)
    replacing = await desk.replace(levels("47000", "54000", str(HELD)))
    new = await desk.protected(sale)
    withdrawn = [row for row in await desk.rows() if row["protects"] == replacing.command_id]
    assert [row["code"] for row in withdrawn] == ["superseded"] * 2
    await asyncio.sleep(0.5)  # it looks again every 0.1 s
    assert await desk.protected(sale) == new
    await desk.assert_books_agree()
