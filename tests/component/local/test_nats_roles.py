"""The roles against a real server: what must work works, and what must not is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api
from nats.js.kv import KeyValue

from aristobot.contracts import nats_roles
from aristobot.contracts.messages import HoldingsReply, QueryReply
from aristobot.contracts.nats_roles import NatsRole
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    CANDLES,
    DECISIONS,
    ENGINE_EVENTS_CONSUMER,
    HOLDINGS_QUERIES,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
    BrokerKey,
    decision_subject,
)
from aristobot.core.errors import Retryable
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.holdings import ask_holdings
from aristobot.platform.kv_mirror import KvMirror
from aristobot.platform.nats_auth import create_trust, issue_role, write_private
from tests.component.local.conftest import Place, eventually
from tests.component.local.nats_users import Roles, User

GATEWAY = nats_roles.gateway("demo", "demo")
OTHER = nats_roles.gateway("demo", "other")


def _consumer(name: str, subject: str) -> api.ConsumerConfig:
    return api.ConsumerConfig(
        name=name,
        durable_name=name,
        filter_subject=subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=3,
        max_ack_pending=1,
    )


async def _take(user: User, stream: str, consumer: str, subject: str) -> Msg:
    # Twice: a restarted service makes its consumer again.
    for _ in range(2):
        await user.js.add_consumer(stream, _consumer(consumer, subject))
    pull = await user.js.pull_subscribe_bind(consumer, stream)
    [message] = await pull.fetch(1, timeout=3)
    await message.in_progress()
    await message.ack_sync(timeout=2)
    info = await user.js.consumer_info(stream, consumer)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    return message


async def test_a_webhook_goes_all_the_way(roles: Roles) -> None:
    ingress = await roles.connect(nats_roles.ingress())
    engine = await roles.connect(nats_roles.engine())
    gateway = await roles.connect(GATEWAY)

    for stream in ("WEBHOOKS",):
        assert (await ingress.js.stream_info(stream)).config.name == stream
    await ingress.js.publish("webhooks.received.demo.demo", b"w", headers={"Nats-Msg-Id": "1"})
    again = await ingress.js.publish(
        "webhooks.received.demo.demo", b"w", headers={"Nats-Msg-Id": "1"}
    )
    assert again.duplicate
    webhook = await _take(engine, "WEBHOOKS", "engine_demo_demo", "webhooks.received.demo.demo")
    assert webhook.data == b"w"

    await engine.js.publish("orders.commands.demo.demo", b"c")
    command = await _take(gateway, "ORDERS", "gateway_demo_demo", "orders.commands.demo.demo")
    assert command.data == b"c"

    await gateway.js.publish("orders.events.demo.demo", b"e")
    event = await _take(engine, "ORDER_EVENTS", ENGINE_EVENTS_CONSUMER, "orders.events.*.*")
    assert event.data == b"e"

    await engine.js.delete_consumer("WEBHOOKS", "engine_demo_demo")
    assert [user.refused for user in (ingress, engine, gateway)] == [[], [], []]


@pytest.mark.parametrize("role", [nats_roles.engine(), nats_roles.admin(), nats_roles.api()])
async def test_a_gateway_answers_queries(roles: Roles, role: NatsRole) -> None:
    asker = await roles.connect(role)
    gateway = await roles.connect(GATEWAY)

    async def answer(message: Msg) -> None:
        await message.respond(b"balance")

    await gateway.client.subscribe("gateway.query.demo.demo", cb=answer)
    await gateway.client.flush(timeout=2)

    async def is_answered() -> bool:
        # Seen about once in a hundred runs: a subscription that the server has confirmed isn't
        # yet seen by another connection's first request.
        with contextlib.suppress(nats.errors.NoRespondersError):
            reply = await asker.client.request("gateway.query.demo.demo", b"?", timeout=2)
            return reply.data == b"balance"
        return False

    for _ in range(3):
        await eventually(is_answered, within_seconds=2)
    with pytest.raises(nats.errors.NoRespondersError):
        await asker.client.request("gateway.query.demo.nobody", b"?", timeout=2)
    assert gateway.refused == []


_READS = {
    nats_roles.ingress(): {TOKENS_BUCKET, BROKERS_BUCKET},
    nats_roles.engine(): {TOKENS_BUCKET, BROKERS_BUCKET, STRATEGIES_BUCKET},
    nats_roles.heartbeat(): {BROKERS_BUCKET, STRATEGIES_BUCKET},
    nats_roles.runner(): {STRATEGIES_BUCKET},
}


@pytest.mark.parametrize("role", _READS, ids=lambda role: role.name)
async def test_its_buckets_can_be_read_and_watched(roles: Roles, role: NatsRole) -> None:
    admin = await roles.connect(nats_roles.admin())
    reader = await roles.connect(role)
    for bucket in sorted(_READS[role]):
        written = await admin.js.key_value(bucket)
        await written.put("demo.demo", b"1")
        read = await reader.js.key_value(bucket)
        assert (await read.get("demo.demo")).value == b"1"
        watcher = await read.watchall()
        assert (await _next_entry(watcher)).value == b"1"
        await written.put("demo.demo", b"2")
        assert (await _next_entry(watcher)).value == b"2"
        await written.delete("demo.demo")
        assert (await _next_entry(watcher)).operation == "DEL"
        await watcher.stop()
        with pytest.raises(nats.errors.TimeoutError):
            await read.put("demo.demo", b"3")
        assert await reader.is_refused(f"$KV.{bucket}.demo.demo")
    assert [text for text in reader.refused if "$kv." not in text.lower()] == []


async def test_the_runner_tells_how_strategies_fare_and_nothing_else(roles: Roles) -> None:
    runner = await roles.connect(nats_roles.runner())
    statuses = await runner.js.key_value(STRATEGY_STATUS_BUCKET)
    await statuses.put("demo.ema", b"1")
    assert (await statuses.get("demo.ema")).value == b"1"
    assert runner.refused == []
    for subject in (
        "orders.commands.demo.demo",
        "webhooks.received.demo.demo",
        "candles.closed.binance.BTCUSDT.1m",
        f"$KV.{BROKERS_BUCKET}.demo.demo",
        f"$KV.{STRATEGIES_BUCKET}.demo.ema",
        "$JS.API.STREAM.DELETE.DECISIONS",
    ):
        assert await runner.is_refused(subject), subject


async def test_the_heartbeat_tells_the_market_and_nothing_else(roles: Roles) -> None:
    heartbeat = await roles.connect(nats_roles.heartbeat())
    ack = await heartbeat.js.publish("candles.closed.binance.BTCUSDT.1m", b"1", timeout=2)
    assert ack.stream == "CANDLES"
    assert heartbeat.refused == []
    for subject in (
        "orders.commands.demo.demo",
        "strategies.decided.demo.demo.ema",
        f"$KV.{BROKERS_BUCKET}.demo.demo",
        "$JS.API.STREAM.DELETE.CANDLES",
    ):
        assert await heartbeat.is_refused(subject), subject


async def test_a_watch_of_many_entries_is_not_held_up(roles: Roles) -> None:
    """Flow control answers on a subject of its own; refused, a long watch would stall."""
    admin = await roles.connect(nats_roles.admin())
    ingress = await roles.connect(nats_roles.ingress())
    written = await admin.js.key_value("webhook_tokens")
    await asyncio.gather(*(written.put(f"k{number}", b"x" * 8_192) for number in range(200)))
    watcher = await (await ingress.js.key_value("webhook_tokens")).watchall()
    seen = {(await _next_entry(watcher)).key for _ in range(200)}
    assert len(seen) == 200
    assert ingress.refused == []


@pytest.mark.parametrize("role", [nats_roles.ingress(), nats_roles.engine()])
async def test_a_bucket_can_be_read_at_once(roles: Roles, role: NatsRole) -> None:
    """Without a consumer, by the server's batched direct get (nats-server 2.11 and later)."""
    admin = await roles.connect(nats_roles.admin())
    reader = await roles.connect(role)
    written = await admin.js.key_value("brokers")
    assert await _read_bucket(reader.client, "brokers") == {}
    for number in range(300):
        await written.put(f"demo.b{number}", b"%d" % number)
    await written.delete("demo.b7")
    wanted = {f"demo.b{number}": b"%d" % number for number in range(300) if number != 7}
    for _ in range(20):
        assert await _read_bucket(reader.client, "brokers") == wanted
    info = await admin.js.stream_info("KV_brokers")
    assert info.state.consumer_count == 0
    assert reader.refused == []


async def _read_bucket(client: Client, bucket: str) -> dict[str, bytes]:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    request = json.dumps({"multi_last": [f"$KV.{bucket}.>"], "batch": 1024}).encode()
    await client.publish(f"$JS.API.DIRECT.GET.KV_{bucket}", request, reply=inbox)
    entries: dict[str, bytes] = {}
    try:
        while True:
            message = await subscription.next_msg(timeout=2)
            headers = message.headers or {}
            match headers.get("Status"):
                case "204" | "404":  # the end; nothing there
                    return entries
                case None:
                    key = headers["Nats-Subject"].removeprefix(f"$KV.{bucket}.")
                    if "KV-Operation" not in headers:
                        entries[key] = message.data
                case status:
                    raise AssertionError(f"{status} {headers.get('Description')}")
    finally:
        await subscription.unsubscribe()


async def _next_entry(watcher: KeyValue.KeyWatcher) -> KeyValue.Entry:
    """The next entry. nats-py may give the marker "all have come" before they have."""
    while True:
        entry = await watcher.updates(timeout=3)
        if entry is not None:
            return entry


async def test_the_platform_bus_works_as_a_role(empty_server: Roles, place: Place) -> None:
    roles = empty_server
    admin_role, ingress_role = nats_roles.admin(), nats_roles.ingress()
    admin = await Bus.connect(
        place.nats_url,
        name="admin",
        credentials=str(roles.credentials(admin_role)),
        inbox_prefix=admin_role.inbox_prefix,
    )
    ingress = await Bus.connect(
        place.nats_url,
        name="ingress",
        credentials=str(roles.credentials(ingress_role)),
        inbox_prefix=ingress_role.inbox_prefix,
    )
    mirror = KvMirror(ingress, "webhook_tokens")
    running = asyncio.create_task(mirror.run())
    try:
        # A first start, and a later one that finds everything there.
        for _ in range(2):
            await admin.ensure_streams()
        bucket = await admin.jetstream.key_value("webhook_tokens")
        await bucket.put("abc", b"1")
        await eventually(lambda: mirror.entries == {"abc": b"1"}, within_seconds=3)
        await bucket.put("abc", b"2")
        took = await eventually(lambda: mirror.entries == {"abc": b"2"}, within_seconds=3)
        # By the notice, not by the re-reading every few seconds.
        assert took < 1.0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await ingress.close()
        await admin.close()


async def test_a_role_that_was_changed_reaches_those_who_are_connected(
    roles: Roles, place: Place
) -> None:
    """An upgrade starts a new engine before the operator has signed what it may do from now on."""
    before = nats_roles.engine()
    after = replace(before, subscribe_allow=(*before.subscribe_allow, "engine.news.*"))
    file = roles.credentials(before)
    asker = await roles.connect(
        replace(before, name="asker", publish_allow=(*before.publish_allow, "engine.news.*"))
    )
    bus = await Bus.connect(
        place.nats_url, name="engine", credentials=str(file), inbox_prefix=before.inbox_prefix
    )

    async def answer(message: Msg) -> None:
        await message.respond(b"heard")

    async def is_answered() -> bool:
        with contextlib.suppress(nats.errors.NoRespondersError):
            return (await asker.client.request("engine.news.x", b"?", timeout=2)).data == b"heard"
        return False

    lost = asyncio.create_task(bus.lost())
    try:
        await bus.client.subscribe("engine.news.x", cb=answer)
        await bus.client.flush(timeout=2)
        assert not await is_answered()
        write_private(file, issue_role(place.trust, after))
        await eventually(is_answered, within_seconds=10)
        assert not lost.done()
    finally:
        await bus.close()
        await lost


async def test_ingress_can_do_nothing_else(roles: Roles) -> None:
    user = await roles.connect(nats_roles.ingress())
    for subject in (
        "orders.commands.demo.demo",
        "orders.events.demo.demo",
        "gateway.query.demo.demo",
        "$JS.API.STREAM.CREATE.X",
        "$JS.API.STREAM.DELETE.WEBHOOKS",
        "$JS.API.STREAM.MSG.GET.WEBHOOKS",
        "$JS.API.CONSUMER.CREATE.WEBHOOKS",
        "$JS.API.STREAM.INFO.ORDERS",
    ):
        assert await user.is_refused(subject), subject
    for subject in ("webhooks.received.>", "orders.>", "_INBOX.>", "_INBOX_engine.>", ">"):
        assert await user.is_refused(subject, subscribing=True), subject


async def test_a_gateway_sees_its_own_broker_alone(roles: Roles) -> None:
    user = await roles.connect(GATEWAY)
    for subject in (
        "orders.events.demo.other",
        "orders.commands.demo.demo",
        "webhooks.received.demo.demo",
        "gateway.query.demo.other",
        "$KV.brokers.demo.demo",
        "$JS.API.DIRECT.GET.KV_webhook_tokens.$KV.webhook_tokens.x",
        "$JS.API.CONSUMER.CREATE.ORDERS.gateway_demo_other.orders.commands.demo.other",
        "$JS.API.CONSUMER.CREATE.ORDERS.gateway_demo_demo.orders.commands.demo.other",
        "$JS.API.CONSUMER.CREATE.ORDERS.gateway_demo_demo",
        "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.gateway_demo_demo",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.gateway_demo_other",
        "$JS.ACK.ORDERS.gateway_demo_other.1.1.1.1.0",
        "_INBOX_engine.x",
    ):
        assert await user.is_refused(subject), subject
    for subject in ("gateway.query.demo.other", "orders.commands.demo.demo", "_INBOX_engine.>"):
        assert await user.is_refused(subject, subscribing=True), subject


async def test_a_gateway_cannot_widen_its_filter(roles: Roles) -> None:
    """The server holds the filter in the request to the one in the subject."""
    user = await roles.connect(GATEWAY)
    name = "gateway_demo_demo"
    request = b'{"stream_name":"ORDERS","config":{"name":"%s","durable_name":"%s",%s}}' % (
        name.encode(),
        name.encode(),
        b'"filter_subject":"orders.commands.>","ack_policy":"explicit"',
    )
    reply = await user.client.request(
        f"$JS.API.CONSUMER.CREATE.ORDERS.{name}.orders.commands.demo.demo", request, timeout=2
    )
    assert b'"error"' in reply.data
    with pytest.raises(nats.js.errors.NotFoundError):
        await user.js.consumer_info("ORDERS", name)


async def test_the_admin_invents_no_messages(roles: Roles) -> None:
    user = await roles.connect(nats_roles.admin())
    for subject in (
        "webhooks.received.demo.demo",
        "orders.commands.demo.demo",
        "orders.events.demo.demo",
    ):
        assert await user.is_refused(subject), subject
    assert await user.is_refused("_INBOX_engine.>", subscribing=True)


async def test_the_operator_does_its_work(empty_server: Roles, place: Place) -> None:
    """On a server where nothing is yet, and once more where all is there."""
    roles, role = empty_server, nats_roles.operator()
    operator = await Bus.connect(
        place.nats_url,
        name="operator",
        credentials=str(roles.credentials(role)),
        inbox_prefix=role.inbox_prefix,
    )
    engine = await roles.connect(nats_roles.engine())
    key = BrokerKey("demo", "demo")

    async def answer(message: Msg) -> None:
        await message.respond(QueryReply(holdings=HoldingsReply(is_broker_known=True)).encode())

    try:
        for _ in range(2):
            await operator.ensure_streams()
        for bucket in (TOKENS_BUCKET, BROKERS_BUCKET, STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET):
            for entries in ({"demo.demo": b"1"}, {}):
                await Bucket(operator, bucket).make_equal(entries)
                assert await Bucket(operator, bucket).read() == entries
        await operator.publish(
            DECISIONS, decision_subject(key, "ema"), b"d", message_id="1", headers={}
        )
        await engine.client.subscribe(HOLDINGS_QUERIES, cb=answer)
        await engine.client.flush(timeout=2)

        async def is_answered() -> bool:
            with contextlib.suppress(Retryable):
                return (await ask_holdings(operator, key)).is_broker_known
            return False

        await eventually(is_answered, within_seconds=3)
        admin = await roles.connect(nats_roles.admin())
        await admin.js.add_consumer("CANDLES", _consumer("runner_demo_ema", "candles.closed.>"))
        assert await operator.consumer_names(CANDLES) == ["runner_demo_ema"]
        await operator.delete_consumer(CANDLES, "runner_demo_ema")
        assert await operator.consumer_names(CANDLES) == []
    finally:
        await operator.close()
    user = await roles.connect(role)
    for subject in (
        "orders.commands.demo.demo",
        "orders.events.demo.demo",
        "webhooks.received.demo.demo",
        "candles.closed.binance.BTCUSDT.1m",
        "gateway.query.demo.demo",
        "engine.query.demo.demo",
        "$JS.API.STREAM.DELETE.ORDERS",
        "$JS.API.STREAM.PURGE.ORDERS",
        "$JS.API.STREAM.MSG.GET.ORDERS",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.CONSUMER.CREATE.ORDERS.x.orders.commands.demo.demo",
        "$JS.API.CONSUMER.DELETE.ORDERS.gateway_demo_demo",
    ):
        assert await user.is_refused(subject), subject
    for subject in ("orders.>", "strategies.decided.>", "_INBOX_engine.>", ">"):
        assert await user.is_refused(subject, subscribing=True), subject


async def test_the_api_sees_figures_and_no_alert(roles: Roles) -> None:
    user = await roles.connect(nats_roles.api())
    engine = await roles.connect(nats_roles.engine())
    alerts = "webhooks.received.demo.demo"
    await engine.js.add_consumer("WEBHOOKS", _consumer("engine_demo_demo", alerts))
    assert (await user.js.consumer_info("WEBHOOKS", "engine_demo_demo")).num_pending == 0
    assert user.refused == []
    for subject in (
        alerts,
        "$JS.API.STREAM.MSG.GET.WEBHOOKS",
        "$JS.API.DIRECT.GET.WEBHOOKS",
        "$JS.API.CONSUMER.MSG.NEXT.WEBHOOKS.engine_demo_demo",
        f"$JS.API.CONSUMER.CREATE.WEBHOOKS.mine.{alerts}",
        "$JS.API.CONSUMER.DELETE.WEBHOOKS.engine_demo_demo",
        "$JS.API.STREAM.PURGE.WEBHOOKS",
        "$JS.API.DIRECT.GET.KV_webhook_tokens",
    ):
        assert await user.is_refused(subject), subject


async def test_a_foreign_inbox_prefix_gets_no_replies(roles: Roles) -> None:
    user = await roles.connect(nats_roles.ingress(), inbox_prefix="_INBOX_engine")
    with pytest.raises(nats.errors.TimeoutError):
        await user.js.publish("webhooks.received.demo.demo", b"x")
    assert any("subscription" in text.lower() for text in user.refused)


async def test_credentials_of_another_platform_are_refused(roles: Roles, place: Place) -> None:
    foreign = create_trust(place.data / "foreign")
    file = place.data / "foreign.creds"
    write_private(file, issue_role(foreign, nats_roles.admin()))
    for credentials in (str(file), None):
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
            await nats.connect(
                place.nats_url,
                user_credentials=credentials,
                allow_reconnect=False,
                error_cb=_ignore,
                connect_timeout=3,
            )


async def _ignore(_: Exception) -> None:
    """The error is raised as well."""
