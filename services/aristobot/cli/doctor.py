"""`aristobot doctor`: asks every part what its users would otherwise find out the hard way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import text

from aristobot.cli.session import Session, open_session
from aristobot.contracts.messages import PingQuery, QueryEnvelope, QueryReply
from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    ENGINE_EVENTS_CONSUMER,
    ORDER_EVENTS,
    ORDERS,
    STREAMS,
    WEBHOOKS,
    BrokerKey,
    Stream,
    engine_consumer,
    gateway_consumer,
    query_subject,
)
from aristobot.core.errors import AristobotError, Misconfigured
from aristobot.platform.buckets import Bucket
from aristobot.platform.bus import Bus
from aristobot.platform.db import EVERY_OWNER
from aristobot.platform.sandbox.availability import verdict
from aristobot.platform.schema import require_current_schema

_MAX_OFFSET_MS = 1000.0
_MAX_DATABASE_OFFSET_SECONDS = 1.0
_MANY_PENDING = 100
_OLD_OUTBOX_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Check:
    """`finding` is a sentence; where `ok` is False it says what is wrong and what to do."""

    name: str
    ok: bool
    finding: str


async def _check(name: str, look: Callable[[], Awaitable[str]]) -> Check:
    """Run one look; what it raises on purpose is the finding."""
    try:
        return Check(name, True, await look())
    except AristobotError as error:
        return Check(name, False, str(error))


async def examine(data: Path) -> list[Check]:
    """All checks, in an order in which the first wrong one is likely the cause of the others."""
    async with open_session(data) as session:
        checks = [await _check("database", partial(_database, session))]
        has_database = checks[0].ok
        if has_database:
            checks += [
                await _check("outbox", partial(_outbox, session)),
                await _check("unknown orders", partial(_unknown_orders, session)),
            ]
        try:
            async with session.bus() as bus:
                brokers = await _brokers(bus) if has_database else []
                checks += await _bus_checks(bus, brokers)
        except AristobotError as error:
            checks.append(Check("nats", False, str(error)))
    if not session.in_pod:  # there each strategy's pod is on a node of its own, and says so itself
        sealing = verdict()
        checks.append(Check("sealed strategies", sealing.sealed, sealing.sentence))
    return checks


async def _brokers(bus: Bus) -> list[BrokerKey]:
    """As ingress and engine know them: the same embedded and in a pod, which sees no resources."""
    return [BrokerKey.parse(key) for key in sorted(await Bucket(bus, BROKERS_BUCKET).read())]


async def _database(session: Session) -> str:
    started = time.perf_counter()
    async with session.database.transaction(EVERY_OWNER) as connection:
        row = (
            await connection.execute(
                text(
                    "SELECT extract(epoch FROM clock_timestamp())::float8 AS now, "
                    "rolsuper OR rolbypassrls AS bypasses FROM pg_roles "
                    "WHERE rolname = current_user"
                )
            )
        ).one()
    took_ms = (time.perf_counter() - started) * 1000
    await require_current_schema(session.database)
    offset = row.now - time.time()
    if abs(offset) > _MAX_DATABASE_OFFSET_SECONDS:
        raise Misconfigured(f"the database's clock differs by {offset:.1f} s: synchronise clocks")
    if row.bypasses:
        raise Misconfigured(
            "the database user bypasses row-level security, so owners are kept apart by queries "
            "alone: use a role that is not superuser"
        )
    return f"answers in {took_ms:.0f} ms, schema is current, clocks agree"


async def _outbox(session: Session) -> str:
    async with session.database.transaction(EVERY_OWNER) as connection:
        waiting = await connection.scalar(
            text(
                "SELECT count(*) FROM outbox WHERE created_at < now() - make_interval(secs => :s)"
            ),
            {"s": _OLD_OUTBOX_SECONDS},
        )
    if waiting:
        raise Misconfigured(
            f"{waiting} messages wait for more than a minute to be published: see the logs of "
            "engine and gateways"
        )
    return "nothing waits"


async def _unknown_orders(session: Session) -> str:
    async with session.database.transaction(EVERY_OWNER) as connection:
        rows = (
            await connection.execute(
                text(
                    "SELECT owner, broker, client_order_id FROM orders "
                    "WHERE status IN ('sending', 'unknown') "
                    "AND created_at < now() - interval '30 s'"
                )
            )
        ).all()
    if rows:
        named = ", ".join(f"{r.client_order_id} ({r.owner}.{r.broker})" for r in rows[:5])
        raise Misconfigured(
            f"{len(rows)} orders have had no known outcome for over 30 s: {named}; the gateway "
            "keeps asking, check the exchange"
        )
    return "every order's outcome is known"


async def _bus_checks(bus: Bus, brokers: Sequence[BrokerKey]) -> list[Check]:
    consumers = [(ORDER_EVENTS, ENGINE_EVENTS_CONSUMER)]
    consumers += [(WEBHOOKS, engine_consumer(key)) for key in brokers]
    consumers += [(ORDERS, gateway_consumer(key)) for key in brokers]
    looks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        *((f"stream {s.name}", partial(_stream, bus, s)) for s in STREAMS),
        *((f"consumer {name}", partial(_consumer, bus, s, name)) for s, name in consumers),
        *((f"exchange of {key}", partial(_exchange, bus, key)) for key in brokers),
    ]
    return [await _check(name, look) for name, look in looks]


async def _stream(bus: Bus, stream: Stream) -> str:
    if not await bus.stream_exists(stream):
        raise Misconfigured(
            f"the stream is missing or takes other subjects than {', '.join(stream.subjects)}: "
            "restart the platform"
        )
    return f"takes {', '.join(stream.subjects)}"


async def _consumer(bus: Bus, stream: Stream, consumer: str) -> str:
    pending = await bus.consumer_pending(stream, consumer)
    if pending is None:
        raise Misconfigured(
            "nobody reads it: is the part running? see `aristobot status` or `kubectl get pods`"
        )
    if pending > _MANY_PENDING:
        raise Misconfigured(f"{pending} messages wait: the part behind it is slow or stuck")
    return f"{pending} waiting"


async def _exchange(bus: Bus, key: BrokerKey) -> str:
    data = await bus.request(
        query_subject(key), QueryEnvelope(query=PingQuery()).encode(), timeout_seconds=10.0
    )
    reply = QueryReply.model_validate_json(data)
    if reply.ping is None:
        raise Misconfigured(reply.failure.message if reply.failure else "no answer")
    if abs(reply.ping.offset_ms) > _MAX_OFFSET_MS:
        raise Misconfigured(
            f"this machine's clock is {-reply.ping.offset_ms:.0f} ms ahead of the exchange's; the "
            "gateway corrects for it, but synchronise it (NTP)"
        )
    if not reply.ping.stream_connected:
        raise Misconfigured(
            "the account's private stream is not connected: fills are found by polling only"
        )
    return f"answers in {reply.ping.exchange_ms:.0f} ms, clock offset {reply.ping.offset_ms:.0f} ms"
