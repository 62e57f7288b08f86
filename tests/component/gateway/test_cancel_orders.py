"""All orders of a position are cancelled, and none comes back; the coins stay."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from aristobot.contracts.messages import AskedBy, CancelOrders
from aristobot.core.orders import Side
from tests.component.gateway.conftest import FINAL, HOLDER, SYMBOL, Desk, eventually, levels

OCO = "POST /api/v3/orderList/oco"
HELD = Decimal("0.0999")


def cancellation(desk: Desk, *, seconds: float = 60.0, holder: str = HOLDER) -> CancelOrders:
    now = datetime.now(UTC)
    return CancelOrders(
        command_id=secrets.token_hex(16),
        owner=desk.key.owner,
        broker=desk.key.broker,
        symbol=SYMBOL,
        holder=holder,
        asked_by=AskedBy.MANUAL,
        caused_at=now,
        valid_until=now + timedelta(seconds=seconds),
    )


async def assert_bare(desk: Desk) -> None:
    """No order is open or planned, and the coins are there and free."""

    async def is_over() -> bool:
        return all(row["status"] in FINAL for row in await desk.rows())

    await eventually(is_over, what="the end of every order")
    assert await desk.open_at_exchange() == []
    assert await desk.balance() == (HELD, 0)
    await desk.assert_books_agree()


async def test_a_pair_is_cancelled_and_stays_so(desk: Desk) -> None:
    await desk.buy("0.1", levels("0.02", "0.04"))
    other = desk.command(Side.BUY, quantity="0.01", protection=levels("0.03", None), holder="other")
    await desk.send(other)
    await desk.protected(other, 1)
    command = await desk.send(cancellation(desk))
    # The stream may give it again, and a repeated one may come under an id that it forgot.
    await desk.send(command.model_copy(update={"command_id": secrets.token_hex(16)}))
    # What comes later doesn't bring the levels back: neither a sale's refusal nor its end.
    refused = desk.command(Side.SELL, quantity="0.00000001")
    await desk.send(refused)
    assert (await desk.ended(refused))["status"] == "rejected"
    part = await desk.send(desk.command(Side.SELL, quantity="0.04"))
    assert (await desk.ended(part))["status"] == "filled"
    await desk.restart()
    after = await desk.send(desk.command(Side.SELL, quantity="0.01"))
    assert (await desk.ended(after))["status"] == "filled"
    # The other holder's stop is none of its business.
    (open_order,) = await desk.open_at_exchange()
    assert [row["client_order_id"] for row in await desk.protected(other, 1)] == [
        open_order["client_id"]
    ]
    await desk.assert_books_agree()


@pytest.mark.parametrize("kind", ["answer_lost", "error_5xx"])
async def test_what_is_unknown_is_found_out_first(desk: Desk, kind: str) -> None:
    """The exchange has the pair, or it never took it: then it is not sent again."""
    await desk.exchange.fault(kind, path=OCO, api_key=desk.api_key)
    await desk.send(desk.command(Side.BUY, quantity="0.1", protection=levels("0.02", "0.04")))

    async def is_sent() -> bool:
        return [r["attempt"] for r in await desk.rows() if r["protects"]] == [1, 1]

    await eventually(is_sent, what="a pair on its way")
    await desk.send(cancellation(desk))
    await assert_bare(desk)
    assert {row["attempt"] for row in await desk.rows() if row["protects"]} == {1}


async def test_a_cut_off_cancellation_is_finished_by_the_next_gateway(desk: Desk) -> None:
    await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.exchange.fault("answer_lost", path="DELETE /api/v3/order", api_key=desk.api_key)
    await desk.send(cancellation(desk))

    async def is_cancelled_there() -> bool:
        return not await desk.open_at_exchange()

    await eventually(is_cancelled_there, what="the cancellation")
    await desk.restart()
    await assert_bare(desk)


async def test_a_late_one_touches_nothing(desk: Desk) -> None:
    """What is open by now may protect a position that nobody asked about."""
    entry = await desk.buy("0.1", levels("0.02", "0.04"))
    await desk.send(cancellation(desk, seconds=-1))
    sale = desk.command(Side.SELL, quantity="0.04")  # behind it, so it has been dealt with
    await desk.send(sale)
    await desk.ended(sale)
    assert len(await desk.protected(sale)) == 2
    assert [r["code"] for r in await desk.rows() if r["command_id"] == entry.command_id] == [None]
