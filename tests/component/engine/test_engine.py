"""What one broker's message may do to the others', and what two engines at once come to."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text

from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.messages import CommandEnvelope, OrderEvent, WebhookReceived
from aristobot.contracts.resources import TradingMode
from aristobot.contracts.streams import (
    ORDER_EVENTS,
    ORDERS,
    WEBHOOKS,
    BrokerKey,
    command_subject,
    event_subject,
    webhook_subject,
)
from aristobot.core.orders import OrderStatus, Side
from aristobot.engine.gateway_client import GatewayClient
from aristobot.engine.handover import producer_of
from aristobot.engine.service import Engine
from aristobot.engine.webhook_worker import WebhookWorker
from aristobot.platform import metrics
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.db import Database
from aristobot.platform.outbox import OutboxMessage, OutboxPublisher, enqueue
from aristobot.platform.tables import outbox
from tests.component.engine.conftest import NAME, SYMBOL, Trading
from tests.component.gateway.conftest import HOLDER, Desk, eventually


def _event(key: BrokerKey, command_id: str, *, side: Side = Side.BUY) -> OrderEvent:
    return OrderEvent(
        event_id=secrets.token_hex(8),
        command_id=command_id,
        client_order_id="ab",
        owner=key.owner,
        broker=key.broker,
        symbol=SYMBOL,
        side=side,
        status=OrderStatus.FILLED,
        executed_quantity=Decimal(1),
        executed_quote=Decimal(50_000),
        at=datetime.now(UTC),
        holder=f"strategy:{NAME}",
    )


async def _say(bus: Bus, sender: BrokerKey, payload: bytes) -> None:
    """As a gateway says it, with the credentials that it has: on its own subject."""
    await bus.publish(
        ORDER_EVENTS,
        event_subject(sender),
        payload,
        message_id=secrets.token_hex(8),
        headers={},
    )


def _dropped() -> float:
    return metrics.MESSAGES_DROPPED.labels(stream=ORDER_EVENTS.name)._value.get()


async def test_no_gateways_event_holds_up_or_moves_anothers_position(
    trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aristobot.platform.bus._UNEXPECTED_DELAY_SECONDS", 0.01)
    bus, ours = trading.desk.bus, trading.desk.key
    other = BrokerKey(f"owner-{secrets.token_hex(4)}", "main")
    before = _dropped()
    await trading.publish(trading.decision(Side.BUY))
    opened = await trading.until("open")
    assert opened.last_command_id is not None
    for payload in (
        b"{}",
        b"nonsense",
        # As a newer gateway might say it.
        _event(other, "newer").encode().replace(b'"filled"', b'"half_cancelled"'),
        _event(ours, "stolen", side=Side.SELL).encode(),
        _event(ours, "misnamed").encode().replace(ours.owner.encode(), b"No Name"),
        # Ours is another owner's order, which the database lets nobody else write: a fault.
        _event(other, opened.last_command_id).model_copy(update={"executed_quantity": 9}).encode(),
    ):
        await _say(bus, other, payload)
    assert await trading.position() == opened
    await trading.publish(trading.decision(Side.SELL))
    await trading.until("flat")
    assert _dropped() == before + 6


async def test_what_a_crash_brought_back_into_the_outbox_is_published(trading: Trading) -> None:
    """No message of the broker's comes; the engine finds it by itself."""
    key = trading.desk.key
    command = trading.desk.command(Side.BUY, quote="100", holder=HOLDER)
    message = OutboxMessage(
        command_subject(key), command.command_id, CommandEnvelope(command=command).encode(), {}
    )
    async with trading.desk.database.transaction(key.owner) as connection:
        await enqueue(connection, owner=key.owner, producer=producer_of(key), message=message)

    async def is_placed() -> bool:
        async with trading.desk.database.transaction(key.owner) as connection:
            left = await connection.scalar(select(func.count()).select_from(outbox))
        return not left and len(await trading.desk.at_exchange()) == 1

    await eventually(is_placed, what="the order at the exchange and an empty outbox")


async def test_an_engine_that_hangs_leaves_no_question_unanswered(
    trading: Trading, nats_url: str
) -> None:
    """Its database takes connections and says nothing; NATS still has it."""
    hanging = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    database = Database(f"postgresql://nobody@127.0.0.1:{port}/none", service="test")
    bus = await Bus.connect(nats_url, name="another engine", timeout_seconds=20)
    other = asyncio.create_task(Engine(bus, database).run())
    try:
        await asyncio.sleep(1.0)
        for _ in range(20):
            await trading.context()
    finally:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        await bus.close()
        await database.close()
        hanging.close()


async def test_of_two_engines_the_one_that_records_a_webhook_says_so(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    record = BrokerRecord(
        owner=desk.key.owner,
        broker=desk.key.broker,
        exchange="binance",
        trading_mode=TradingMode.WEBHOOK,
    )
    webhook = WebhookReceived(b"anything", datetime.now(UTC), "", "", secrets.token_hex())
    delivery = Delivery(
        stream=WEBHOOKS.name,
        subject=webhook_subject(desk.key),
        data=webhook.body,
        headers=webhook.headers(),
        sequence=1,
        attempt=1,
        stored_at=datetime.now(UTC),
    )
    engines = [
        WebhookWorker(
            desk.key,
            database=desk.database,
            outbox=OutboxPublisher(desk.database, desk.bus, ORDERS),
            gateway=GatewayClient(desk.bus),
            record=lambda: record,
        )
        for _ in range(2)
    ]
    async with desk.database.transaction(desk.key.owner) as connection:
        # Both have looked and found nothing before either can write.
        await connection.execute(text("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE"))
        handling = [asyncio.create_task(each.handle(delivery)) for each in engines]
        await asyncio.sleep(1.0)
    await asyncio.gather(*handling)
    said = [each for each in caplog.records if each.message == "webhook recorded"]
    assert len(said) == 1
