"""Which NATS subjects each role may use: the least with which it does its work.

Every part of the platform connects as a user of its own; `platform.nats_auth` signs these sets
into the user's JWT and the server keeps them. A broken or broken-into ingress can then publish
webhooks and nothing else, and a gateway sees the commands of its own broker alone. Each role has
its own inbox prefix, which its client must be given: replies are delivered there, and no other
role may read them. Deliberately not here: keys, JWTs, and creating streams (the admin's work).

What a client library sends for each operation was read from nats-py 2.16: publishing with
acknowledgement is a request on the subject itself; a pull consumer is created on
`$JS.API.CONSUMER.CREATE.<stream>.<name>.<filter>` *if it is given a name*, and then the server
holds the filter to the subject (the older `DURABLE.CREATE` form names no filter, so it cannot be
limited to one broker and nobody but the admin may use it); a bucket's watcher is an ordered push
consumer without a name, to an inbox.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aristobot.contracts.streams import (
    BROKERS_BUCKET,
    BUCKETS,
    CANDLES,
    DECISIONS,
    ENGINE_EVENTS_CONSUMER,
    ORDER_EVENTS,
    ORDERS,
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    STREAMS,
    TOKENS_BUCKET,
    WEBHOOKS,
    BrokerKey,
    Stream,
    candle_subject,
    command_subject,
    decision_subject,
    engine_query_subject,
    event_subject,
    gateway_consumer,
    query_subject,
    runner_consumer,
)
from aristobot.core.candles import Timeframe
from aristobot.core.errors import Misconfigured

_API = "$JS.API"
_ANY_QUERY = "gateway.query.*.*"
_ANY_ENGINE_QUERY = "engine.query.*.*"
_ANY_HOLDINGS_QUERY = "engine.holdings.*.*"
#: How long a gateway may take to answer a query, seconds; longer than any asker waits.
_RESPONSE_SECONDS = 30.0
#: Exactly one subject token, without wildcards.
_TOKEN = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True, slots=True)
class NatsRole:
    """A user's name, its inbox prefix (for the client), and what it may publish and subscribe to.

    `response_seconds`: when set, the user may answer a request it received, once, within that
    time, wherever the asker's inbox is; None forbids it.
    """

    name: str
    inbox_prefix: str
    publish_allow: tuple[str, ...]
    subscribe_allow: tuple[str, ...]
    publish_deny: tuple[str, ...] = ()
    subscribe_deny: tuple[str, ...] = ()
    response_seconds: float | None = None


def ingress() -> NatsRole:
    """Publishes webhooks; reads both buckets."""
    return _role(
        "ingress",
        publish=(*WEBHOOKS.subjects, *_verify(WEBHOOKS), *_read_buckets()),
        subscribe=_bucket_notices(TOKENS_BUCKET, BROKERS_BUCKET),
    )


def engine() -> NatsRole:
    """Consumes webhooks and order events, publishes commands, asks gateways, reads both buckets."""
    return _role(
        "engine",
        publish=(
            *ORDERS.subjects,
            _ANY_QUERY,
            *_verify(WEBHOOKS, ORDERS, ORDER_EVENTS),
            *_consume(WEBHOOKS, consumer="*", subject=WEBHOOKS.subjects[0]),
            # To find at start the consumers of brokers that are gone.
            f"{_API}.CONSUMER.LIST.{WEBHOOKS.name}",
            # A deleted broker's consumer is removed by whoever made it.
            f"{_API}.CONSUMER.DELETE.{WEBHOOKS.name}.*",
            *_consume(
                ORDER_EVENTS, consumer=ENGINE_EVENTS_CONSUMER, subject=ORDER_EVENTS.subjects[0]
            ),
            *_verify(DECISIONS),
            *_consume(DECISIONS, consumer="*", subject=DECISIONS.subjects[0]),
            f"{_API}.CONSUMER.LIST.{DECISIONS.name}",
            f"{_API}.CONSUMER.DELETE.{DECISIONS.name}.*",
            *_read_buckets(),
            *_read_bucket(STRATEGIES_BUCKET),
        ),
        subscribe=(
            _ANY_ENGINE_QUERY,
            _ANY_HOLDINGS_QUERY,
            *_bucket_notices(TOKENS_BUCKET, BROKERS_BUCKET, STRATEGIES_BUCKET),
        ),
        response_seconds=_RESPONSE_SECONDS,
    )


def heartbeat() -> NatsRole:
    """Publishes candles and the raw market, asks gateways for missed candles, reads who trades."""
    return _role(
        "heartbeat",
        publish=(
            *CANDLES.subjects,
            "market.raw.*.*",
            _ANY_QUERY,
            *_verify(CANDLES),
            *_read_bucket(BROKERS_BUCKET),
            *_read_bucket(STRATEGIES_BUCKET),
        ),
        subscribe=_bucket_notices(BROKERS_BUCKET, STRATEGIES_BUCKET),
    )


def runner() -> NatsRole:
    """Consumes candles, asks for history and context, publishes decisions and status.

    All active strategies of an embedded platform; no strategy's code runs in the process that
    holds this user (`runner.zygote`).
    """
    return _role(
        "runner",
        publish=(
            *DECISIONS.subjects,
            _ANY_QUERY,
            _ANY_ENGINE_QUERY,
            *_verify(CANDLES, DECISIONS),
            *_consume(CANDLES, consumer="*", subject=CANDLES.subjects[0]),
            f"{_API}.CONSUMER.LIST.{CANDLES.name}",
            f"{_API}.CONSUMER.DELETE.{CANDLES.name}.*",
            *_read_bucket(STRATEGIES_BUCKET),
            *_read_bucket(STRATEGY_STATUS_BUCKET),
            f"$KV.{STRATEGY_STATUS_BUCKET}.>",
        ),
        subscribe=_bucket_notices(STRATEGIES_BUCKET),
    )


def strategy_runner(
    owner: str, name: str, broker: str, *, market: str, symbol: str, timeframe: Timeframe
) -> NatsRole:
    """The runner of one active strategy in a pod of its own: nothing that concerns any other.

    Another symbol, timeframe or broker is another role, so its credentials are issued anew. The
    record is read by the direct request that names its key in the subject; the server refuses any
    payload there, so it can't be widened. `STREAM.INFO` is left out on purpose: it lists subjects,
    and with them everybody's strategies. Raises `Misconfigured` for what is not a plain name.
    """
    key = BrokerKey(owner, broker)
    record = str(BrokerKey(owner, name))
    if not (_TOKEN.fullmatch(market) and _TOKEN.fullmatch(symbol)):
        raise Misconfigured(f"{market!r} and {symbol!r} must be letters, digits and '-' alone")
    candles = candle_subject(market, symbol, timeframe)
    consumer = runner_consumer(owner, name)
    return _role(
        strategy_runner_name(owner, name),
        publish=(
            decision_subject(key, name),
            query_subject(key),
            engine_query_subject(key),
            *_consume(CANDLES, consumer=consumer, subject=candles),
            f"{_API}.CONSUMER.DELETE.{CANDLES.name}.{consumer}",
            *(_read_key(bucket, record) for bucket in (STRATEGIES_BUCKET, STRATEGY_STATUS_BUCKET)),
            f"$KV.{STRATEGY_STATUS_BUCKET}.{record}",
        ),
        subscribe=(f"$KV.{STRATEGIES_BUCKET}.{record}",),
    )


def strategy_runner_name(owner: str, name: str) -> str:
    """The name of `strategy_runner`, which its pod needs before it has read its record."""
    return f"runner_{owner}_{name}"


def gateway(owner: str, broker: str) -> NatsRole:
    """Consumes one broker's commands, publishes its events, answers its queries.

    Raises `Misconfigured` when a name is not a DNS-1123 label.
    """
    key = BrokerKey(owner, broker)
    # Names hold no underscore, so two brokers can't come out the same.
    return _role(
        f"gateway_{key.owner}_{key.broker}",
        publish=(
            event_subject(key),
            *_verify(ORDERS, ORDER_EVENTS),
            *_consume(ORDERS, consumer=gateway_consumer(key), subject=command_subject(key)),
        ),
        subscribe=(query_subject(key),),
        response_seconds=_RESPONSE_SECONDS,
    )


def api() -> NatsRole:
    """What a person asks for by hand: commands, questions to gateways; never the tokens.

    Of streams and consumers it sees the figures (`aristobot doctor`), of alerts not the content.
    """
    return _role(
        "api",
        publish=(
            *ORDERS.subjects,
            *DECISIONS.subjects,
            _ANY_QUERY,
            *_verify(*STREAMS),
            *(f"{_API}.CONSUMER.INFO.{stream.name}.*" for stream in STREAMS),
            *_read_bucket(BROKERS_BUCKET),
            *_read_bucket(STRATEGIES_BUCKET),
        ),
        subscribe=(
            *ORDER_EVENTS.subjects,
            *(f"$KV.{bucket}.>" for bucket in (BROKERS_BUCKET, STRATEGIES_BUCKET)),
        ),
    )


def admin() -> NatsRole:
    """CLI and supervisor: creates streams, writes the buckets, looks at everything.

    It cannot publish a webhook, a command or an event: those come from their one source.
    """
    return _role(
        "admin",
        publish=(
            f"{_API}.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            *(f"$KV.{bucket}.>" for bucket in (TOKENS_BUCKET, BROKERS_BUCKET, STRATEGIES_BUCKET)),
            _ANY_QUERY,
        ),
        subscribe=(
            *ORDER_EVENTS.subjects,
            *_bucket_notices(*BUCKETS),
        ),
    )


def operator() -> NatsRole:
    """Executes the resources on Kubernetes: makes streams and buckets, writes what services read.

    It may ask for sales and cancellations by hand, as decisions that the engine judges; it can't
    publish a command, and reads neither streams nor what strategies may ask. Of the runners' bucket
    of statuses it removes those of strategies that are gone.
    """
    return _role(
        "operator",
        publish=(
            *DECISIONS.subjects,
            _ANY_HOLDINGS_QUERY,
            *_ensure(*(stream.name for stream in STREAMS)),
            *_ensure(*(f"KV_{bucket}" for bucket in BUCKETS)),
            *(subject for bucket in BUCKETS for subject in _read_bucket(bucket)),
            *_bucket_notices(*BUCKETS),
            # A deleted strategy's consumer of candles, which its runner can't remove any more.
            f"{_API}.CONSUMER.LIST.{CANDLES.name}",
            f"{_API}.CONSUMER.DELETE.{CANDLES.name}.*",
        ),
        subscribe=_bucket_notices(*BUCKETS),
    )


def _ensure(*streams: str) -> tuple[str, ...]:
    """To make a stream, or make it as it should be; never to empty or delete one."""
    return tuple(
        f"{_API}.STREAM.{verb}.{stream}"
        for stream in streams
        for verb in ("INFO", "CREATE", "UPDATE")
    )


def inbox_prefix(name: str) -> str:
    """Where the user of the role `name` gets its replies."""
    return f"_INBOX_{name}"


def _role(
    name: str,
    *,
    publish: tuple[str, ...],
    subscribe: tuple[str, ...],
    response_seconds: float | None = None,
) -> NatsRole:
    prefix = inbox_prefix(name)
    return NatsRole(
        name=name,
        inbox_prefix=prefix,
        publish_allow=publish,
        subscribe_allow=(f"{prefix}.>", *subscribe),
        response_seconds=response_seconds,
    )


def _verify(*streams: Stream) -> tuple[str, ...]:
    """To see at start that a stream is there and what it takes."""
    return tuple(f"{_API}.STREAM.INFO.{stream.name}" for stream in streams)


def _consume(stream: Stream, *, consumer: str, subject: str) -> tuple[str, ...]:
    """To make a named durable pull consumer on `subject`, pull from it and acknowledge."""
    return (
        f"{_API}.CONSUMER.CREATE.{stream.name}.{consumer}.{subject}",
        f"{_API}.CONSUMER.INFO.{stream.name}.{consumer}",
        f"{_API}.CONSUMER.MSG.NEXT.{stream.name}.{consumer}",
        f"$JS.ACK.{stream.name}.{consumer}.>",
    )


def _read_bucket(bucket: str) -> tuple[str, ...]:
    """To get entries, one or all, and to watch: an unnamed ordered consumer with flow control."""
    stream = f"KV_{bucket}"
    return (
        f"{_API}.STREAM.INFO.{stream}",
        f"{_API}.DIRECT.GET.{stream}",
        f"{_API}.DIRECT.GET.{stream}.>",
        f"{_API}.STREAM.MSG.GET.{stream}",
        f"{_API}.CONSUMER.CREATE.{stream}",
        f"{_API}.CONSUMER.INFO.{stream}.*",
        f"$JS.FC.{stream}.>",
    )


def _read_key(bucket: str, key: str) -> str:
    """To get one entry."""
    return f"{_API}.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}"


def _read_buckets() -> tuple[str, ...]:
    return (*_read_bucket(TOKENS_BUCKET), *_read_bucket(BROKERS_BUCKET))


def _bucket_notices(*buckets: str) -> tuple[str, ...]:
    """A bucket's writes are plain messages too, and tell the mirrors when to read again."""
    return tuple(f"$KV.{bucket}.>" for bucket in buckets)
