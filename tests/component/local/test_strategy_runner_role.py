"""The NATS user of one strategy's pod: enough to trade its strategy, and nothing of anybody else's.

Against a real server, as code that has taken the runner over would try it.
"""

from __future__ import annotations

import asyncio
import json

import nats.errors
import pytest
from nats.aio.msg import Msg

from aristobot.contracts import nats_roles
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    CANDLES,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
)
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus, Delivery
from aristobot.platform.kv_mirror import KvMirror
from tests.component.local.conftest import Place, eventually
from tests.component.local.nats_users import Roles, User

ROLE = nats_roles.strategy_runner(
    "demo", "ema", "main", market="binance", symbol="BTCUSDT", timeframe=Timeframe.M1
)
ITS_CANDLES = "candles.closed.binance.BTCUSDT.1m"
CONSUMER = "runner_demo_ema"
CREATE = f"$JS.API.CONSUMER.CREATE.CANDLES.{CONSUMER}.{ITS_CANDLES}"
RECORD = f"$JS.API.DIRECT.GET.KV_{STRATEGIES_BUCKET}.$KV.{STRATEGIES_BUCKET}.demo.ema"


async def test_it_does_its_work_by_the_platform_s_own_client(roles: Roles, place: Place) -> None:
    admin = await roles.connect(nats_roles.admin())
    heartbeat = await roles.connect(nats_roles.heartbeat())
    records = await admin.js.key_value(STRATEGIES_BUCKET)
    await records.put("demo.ema", b"1")
    await records.put("demo.other", b"others")
    bus = await Bus.connect(
        place.nats_url,
        name="runner",
        credentials=str(roles.credentials(ROLE)),
        inbox_prefix=ROLE.inbox_prefix,
    )
    mirror = KvMirror(bus, STRATEGIES_BUCKET, only="demo.ema")
    status = Bucket(bus, STRATEGY_STATUS_BUCKET, only="demo.ema")
    taken: list[bytes] = []

    async def take(delivery: Delivery) -> None:
        taken.append(delivery.data)

    tasks = [
        asyncio.create_task(mirror.run()),
        asyncio.create_task(bus.consume(CANDLES, ITS_CANDLES, CONSUMER, take)),
    ]
    try:
        await eventually(lambda: mirror.entries == {"demo.ema": b"1"}, within_seconds=3)
        await records.put("demo.ema", b"2")
        # By the notice, not by the re-reading every few seconds.
        assert await eventually(lambda: mirror.entries == {"demo.ema": b"2"}) < 2.0
        await records.delete("demo.ema")
        await eventually(lambda: mirror.entries == {}, within_seconds=3)

        await status.make_equal({"demo.ema": b"running"})
        assert await status.read() == {"demo.ema": b"running"}
        await status.make_equal({})
        assert await status.read() == {}

        await heartbeat.js.publish(ITS_CANDLES, b"candle")
        await heartbeat.js.publish("candles.closed.binance.ETHUSDT.1m", b"another's")
        await eventually(lambda: taken == [b"candle"], within_seconds=5)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    # What a pod that is stopped leaves behind is where its successor goes on.
    assert (await admin.js.consumer_info("CANDLES", CONSUMER)).num_pending == 0
    await bus.delete_consumer(CANDLES, CONSUMER)
    assert await admin.js.consumers_info("CANDLES") == []
    await bus.close()


@pytest.mark.parametrize("asked", ["gateway.query.demo.main", "engine.query.demo.main"])
async def test_it_asks_its_own_broker(roles: Roles, asked: str) -> None:
    runner = await roles.connect(ROLE)
    answering = nats_roles.gateway("demo", "main") if "gateway" in asked else nats_roles.engine()
    other = await roles.connect(answering)

    async def answer(message: Msg) -> None:
        await message.respond(b"yes")

    await other.client.subscribe(asked, cb=answer)
    await other.client.flush(timeout=2)

    async def is_answered() -> bool:
        try:
            return (await runner.client.request(asked, b"?", timeout=1)).data == b"yes"
        except nats.errors.NoRespondersError:
            return False

    await eventually(is_answered, within_seconds=3)
    ack = await runner.js.publish("strategies.decided.demo.main.ema", b"buy", timeout=2)
    assert ack.stream == "DECISIONS"
    assert runner.refused == []


async def test_whatever_else_it_publishes_is_refused(roles: Roles) -> None:
    runner = await roles.connect(ROLE)
    get, kv = "$JS.API.DIRECT.GET", f"KV_{STRATEGIES_BUCKET}"
    for subject in (
        # others' decisions, brokers, orders, alerts, candles
        "strategies.decided.demo.main.other",
        "strategies.decided.demo.other.ema",
        "strategies.decided.eve.main.ema",
        "gateway.query.demo.other",
        "gateway.query.eve.main",
        "engine.query.eve.main",
        "engine.holdings.demo.main",
        "orders.commands.demo.main",
        "orders.events.demo.main",
        "webhooks.received.demo.main",
        ITS_CANDLES,
        "ui.demo.anything",
        # the buckets: its own status is all that it may write
        f"$KV.{STRATEGIES_BUCKET}.demo.ema",
        f"$KV.{STRATEGY_STATUS_BUCKET}.demo.other",
        f"$KV.{STRATEGY_STATUS_BUCKET}.eve.ema",
        f"$KV.{BROKERS_BUCKET}.demo.main",
        f"$KV.{TOKENS_BUCKET}.x",
        # reading more than its own key
        f"{get}.{kv}",
        f"{get}.{kv}.$KV.{STRATEGIES_BUCKET}.demo.other",
        f"{get}.{kv}.$KV.{STRATEGIES_BUCKET}.demo.*",
        f"{get}.{kv}.$KV.{STRATEGIES_BUCKET}.>",
        f"{get}.{kv}.>",
        f"{get}.KV_{BROKERS_BUCKET}.$KV.{BROKERS_BUCKET}.demo.main",
        f"{get}.KV_{TOKENS_BUCKET}",
        f"{get}.WEBHOOKS",
        f"$JS.API.STREAM.MSG.GET.{kv}",
        f"$JS.API.STREAM.INFO.{kv}",
        f"$JS.API.CONSUMER.CREATE.{kv}",
        "$JS.API.STREAM.MSG.GET.WEBHOOKS",
        "$JS.API.STREAM.MSG.GET.ORDERS",
        # consumers: its own name on its own subject alone
        f"$JS.API.CONSUMER.CREATE.CANDLES.{CONSUMER}.candles.closed.binance.ETHUSDT.1m",
        f"$JS.API.CONSUMER.CREATE.CANDLES.{CONSUMER}.candles.closed.>",
        f"$JS.API.CONSUMER.CREATE.CANDLES.{CONSUMER}",
        f"$JS.API.CONSUMER.CREATE.CANDLES.runner_eve_ema.{ITS_CANDLES}",
        f"$JS.API.CONSUMER.DURABLE.CREATE.CANDLES.{CONSUMER}",
        f"$JS.API.CONSUMER.CREATE.WEBHOOKS.{CONSUMER}.webhooks.received.demo.main",
        f"$JS.API.CONSUMER.CREATE.ORDERS.{CONSUMER}.orders.commands.demo.main",
        f"$JS.API.CONSUMER.CREATE.ORDER_EVENTS.{CONSUMER}.orders.events.demo.main",
        f"$JS.API.CONSUMER.CREATE.DECISIONS.{CONSUMER}.strategies.decided.demo.main.ema",
        "$JS.API.CONSUMER.MSG.NEXT.CANDLES.runner_eve_ema",
        "$JS.API.CONSUMER.DELETE.CANDLES.runner_eve_ema",
        "$JS.API.CONSUMER.DELETE.ORDERS.gateway_demo_main",
        "$JS.API.CONSUMER.PAUSE.CANDLES.runner_demo_ema",
        "$JS.API.CONSUMER.LIST.CANDLES",
        "$JS.API.CONSUMER.NAMES.CANDLES",
        "$JS.ACK.ORDERS.gateway_demo_main.1.1.1.1.0",
        # administration
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.UPDATE.CANDLES",
        "$JS.API.STREAM.DELETE.CANDLES",
        "$JS.API.STREAM.PURGE.CANDLES",
        "$JS.API.STREAM.MSG.DELETE.CANDLES",
        "$JS.API.STREAM.SNAPSHOT.WEBHOOKS",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$JS.API.INFO",
        "$SYS.REQ.SERVER.PING",
        # replies to others
        "_INBOX_engine.x",
    ):
        assert await runner.is_refused(subject), subject


async def test_it_hears_of_nothing_else(roles: Roles) -> None:
    runner = await roles.connect(ROLE)
    for subject in (
        ">",
        "webhooks.received.>",
        "orders.commands.demo.main",
        "orders.events.demo.main",
        "strategies.decided.demo.main.ema",
        "candles.closed.>",
        ITS_CANDLES,
        "gateway.query.demo.main",
        "engine.query.demo.main",
        "market.raw.>",
        f"$KV.{STRATEGIES_BUCKET}.>",
        f"$KV.{STRATEGIES_BUCKET}.demo.other",
        f"$KV.{TOKENS_BUCKET}.>",
        "_INBOX.>",
        "_INBOX_engine.>",
        "_INBOX_runner_demo_other.>",
        "$JS.EVENT.ADVISORY.>",
        "$SYS.>",
    ):
        assert await runner.is_refused(subject, subscribing=True), subject


async def test_no_payload_widens_the_request_for_its_record(roles: Roles) -> None:
    admin = await roles.connect(nats_roles.admin())
    records = await admin.js.key_value(STRATEGIES_BUCKET)
    await records.put("eve.x", b"secret")
    await records.put("demo.ema", b"mine")
    runner = await roles.connect(ROLE)
    inbox = await runner.client.subscribe(runner.client.new_inbox())
    for request in (
        {"multi_last": [f"$KV.{STRATEGIES_BUCKET}.>"], "batch": 100},
        {"multi_last": [">"], "batch": 100, "seq": 1},
        {"last_by_subj": f"$KV.{STRATEGIES_BUCKET}.eve.x"},
        {"next_by_subj": ">", "seq": 1},
        {"seq": 1},
        {"seq": 1, "batch": 100},
        {"batch": 100, "up_to_seq": 100},
    ):
        await runner.client.publish(RECORD, json.dumps(request).encode(), reply=inbox.subject)
        answer = await inbox.next_msg(timeout=2)
        assert (answer.data, (answer.headers or {}).get("Status")) == (b"", "408"), request
        with pytest.raises(nats.errors.TimeoutError):
            await inbox.next_msg(timeout=0.1)
    assert (await runner.client.request(RECORD, timeout=2)).data == b"mine"


async def _request(user: User, subject: str, config: dict[str, object]) -> bytes:
    body = json.dumps({"stream_name": "CANDLES", "config": config}).encode()
    return (await user.client.request(subject, body, timeout=2)).data


async def test_its_consumer_takes_nothing_but_its_candles(roles: Roles) -> None:
    runner = await roles.connect(ROLE)
    own = {"name": CONSUMER, "durable_name": CONSUMER, "ack_policy": "explicit"}
    for changes in (
        {"filter_subject": "candles.closed.>"},
        {"filter_subjects": [ITS_CANDLES, "candles.closed.binance.ETHUSDT.1m"]},
        {"filter_subject": ITS_CANDLES, "name": "other", "durable_name": "other"},
        {},
    ):
        assert b'"error"' in await _request(runner, CREATE, {**own, **changes}), changes
    admin = await roles.connect(nats_roles.admin())
    assert await admin.js.consumers_info("CANDLES") == []


async def test_a_consumer_that_pushes_changes_nothing_of_others(roles: Roles) -> None:
    """The server lets a consumer's maker say where it delivers: what a hijacked runner gains by it.

    Its candles reach who listens on exactly that subject, as the candles that they are. No stream
    stores them there, and the JetStream API doesn't take them for a request.
    """
    admin = await roles.connect(nats_roles.admin())
    heartbeat = await roles.connect(nats_roles.heartbeat())
    engine = await roles.connect(nats_roles.engine())
    runner = await roles.connect(ROLE)
    records = await admin.js.key_value(STRATEGIES_BUCKET)
    await records.put("eve.x", b"record")
    await engine.js.publish("orders.commands.eve.main", b"order")
    heard = await engine.client.subscribe(f"$KV.{STRATEGIES_BUCKET}.eve.x")
    await engine.client.flush(timeout=2)
    for target in (
        f"$KV.{STRATEGIES_BUCKET}.eve.x",
        "orders.commands.eve.main",
        "$JS.API.STREAM.PURGE.ORDERS",
        "$JS.API.STREAM.DELETE.ORDERS",
    ):
        config = {"filter_subject": ITS_CANDLES, "ack_policy": "none", "deliver_subject": target}
        made = await _request(
            runner, CREATE, {"name": CONSUMER, "durable_name": CONSUMER, **config}
        )
        assert b'"error"' not in made
        await heartbeat.js.publish(ITS_CANDLES, b"{}", headers={"Nats-Msg-Id": target})
        if target.startswith("$KV"):
            # So the trial is one: to a listener on the very subject it does deliver.
            assert (await heard.next_msg(timeout=2)).subject == ITS_CANDLES
        await asyncio.sleep(0.1)
        await runner.js.delete_consumer("CANDLES", CONSUMER)
    assert (await records.get("eve.x")).value == b"record"
    orders = await admin.js.stream_info("ORDERS")
    assert (orders.state.messages, orders.state.last_seq) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"symbol": "*"}, r"'\*'"),
        ({"symbol": "BTC.USDT"}, "BTC.USDT"),
        ({"market": ">"}, "'>'"),
        ({"symbol": ""}, "''"),
        ({"name": "ema.*"}, "ema"),
        ({"owner": "*"}, r"'\*'"),
        ({"broker": "main.>"}, "main"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(value),
)
def test_a_name_that_would_widen_the_role_is_refused(changes: dict[str, str], wrong: str) -> None:
    values = {"owner": "demo", "name": "ema", "broker": "main"}
    values |= {"market": "binance", "symbol": "BTCUSDT", **changes}
    with pytest.raises(Misconfigured, match=wrong):
        nats_roles.strategy_runner(
            values["owner"],
            values["name"],
            values["broker"],
            market=values["market"],
            symbol=values["symbol"],
            timeframe=Timeframe.M1,
        )
