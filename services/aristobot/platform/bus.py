"""NATS: durable publishing, ordered consuming, request/reply. Only `platform` modules import nats.

Rules kept here: durable work is published to a declared stream with a message id and counts only
once the stream has acknowledged it; a consumer has one message in flight, so a broker's messages
are handled in order even by several replicas; a message is acknowledged after its handler
returned. Trace context goes into headers by `platform.telemetry`, at the callers. The mirror of a
key-value bucket is in `platform.kv_mirror`.

Connection loss is normal: the client reconnects for ever, and every call that can't be served
meanwhile raises `Retryable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext, api

from aristobot.contracts.messages import MESSAGE_ID_HEADER
from aristobot.contracts.streams import BUCKETS, STREAMS, Stream
from aristobot.core.errors import Fenced, Misconfigured, Retryable
from aristobot.platform.acknowledged import AcknowledgedPublisher
from aristobot.platform.waiting import end_if_cancelled, pause

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_SECONDS = 2.0
_FETCH_SECONDS = 2.0
#: A crashed replica's message comes back after this long; a slow handler is kept alive below.
_ACK_WAIT_SECONDS = 3.0
_KEEP_ALIVE_SECONDS = 1.0
#: Longer than an order takes, and short of what a process is given to stop (`platform.lifecycle`).
_DRAIN_SECONDS = 1.5
_UNEXPECTED_DELAY_SECONDS = 2.0
#: How often the credentials file is looked at; kubelet itself takes about a minute to change it.
_CREDENTIALS_SECONDS = 2.0
_EXPECTED_STREAM: str = api.Header.EXPECTED_STREAM.value

_AWAY = (
    nats.errors.Error,
    nats.js.errors.Error,
    asyncio.TimeoutError,
    OSError,
)


class Undeliverable(Retryable):
    """No stream takes the subject: a mistake of ours, or NATS is just coming back.

    Either way nothing was stored, so whoever owns the message keeps it and tries again.
    """


@dataclass(frozen=True, slots=True)
class PublishAck:
    """The stream has it on disk. `duplicate`: it had it before, under this same sequence."""

    sequence: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message from a stream. `attempt` counts from 1; `stored_at` is the stream's time."""

    stream: str
    subject: str
    data: bytes
    headers: Mapping[str, str]
    sequence: int
    attempt: int
    stored_at: datetime


Handler = Callable[[Delivery], Awaitable[None]]
Responder = Callable[[bytes, Mapping[str, str]], Awaitable[bytes]]
#: The same for a subject with wildcards; what was asked on comes first.
SubjectResponder = Callable[[str, bytes, Mapping[str, str]], Awaitable[bytes]]


class Bus:
    """One connection. `inbox_prefix` keeps roles from reading each other's replies."""

    def __init__(self, client: Client, credentials: str | None = None) -> None:
        self._client = client
        self._credentials = credentials
        self._used = _content(credentials)
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_TIMEOUT_SECONDS)
        self._publisher = AcknowledgedPublisher(client)
        self._is_closing = False
        self._is_draining = False
        self._at_work: set[asyncio.Future[None]] = set()
        self._ended = asyncio.Event()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        credentials: str | None = None,
        inbox_prefix: str = "_INBOX",
        timeout_seconds: float | None = None,
    ) -> Bus:
        """Connect, trying for ever (or for `timeout_seconds`, then `Retryable`).

        Raises `Misconfigured` when the server refuses the credentials.
        """
        _require_file(credentials)
        client = Client()
        bus = cls(client, credentials)
        refused = asyncio.Event()

        async def on_error(error: Exception) -> None:
            if isinstance(error, nats.errors.AuthorizationError):
                refused.set()
            logger.warning("bus error", extra={"error": _say(error)})

        async def on_reconnect() -> None:
            logger.info("bus reconnected")

        async def on_disconnect() -> None:
            if not bus._is_closing:
                logger.warning("bus disconnected")

        async def on_close() -> None:
            bus._ended.set()

        # It tries for ever by itself, also with credentials that will never be accepted.
        connecting = asyncio.create_task(
            client.connect(
                url,
                name=name,
                user_credentials=credentials,
                inbox_prefix=inbox_prefix,
                error_cb=on_error,
                reconnected_cb=on_reconnect,
                disconnected_cb=on_disconnect,
                closed_cb=on_close,
                connect_timeout=2,
                reconnect_time_wait=0.2,  # type: ignore[arg-type]  # it sleeps, so floats do
                max_reconnect_attempts=-1,
                ping_interval=10,
                max_outstanding_pings=2,
                allow_reconnect=True,
            ),
            name="connect to NATS",
        )
        refusal = asyncio.create_task(refused.wait(), name="NATS refuses")
        try:
            await asyncio.wait(
                {connecting, refusal},
                timeout=timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if connecting.done():
                await connecting
                return bus
        except _AWAY as error:
            raise Retryable(f"NATS at {url} can't be used: {_say(error)}") from error
        finally:
            refusal.cancel()
            connecting.cancel()
            await asyncio.gather(refusal, connecting, return_exceptions=True)
        await bus.close()
        if refused.is_set():
            raise Misconfigured(f"NATS at {url} refuses our credentials")
        raise Retryable(f"NATS at {url} does not answer")

    async def lost(self) -> None:
        """Return never, or raise `Retryable` once the connection is closed for good.

        The client reconnects for ever, but gives up when a server refuses it. Only a new process,
        with what the executor gives it then, can help. Meanwhile it reconnects when the credentials
        file has been replaced: what its role may do stands in it, and a later version needs more.
        """
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CREDENTIALS_SECONDS):
                    await self._ended.wait()
            await self._follow_credentials()
        if not self._is_closing:
            raise Retryable("NATS has closed the connection for good")

    async def _follow_credentials(self) -> None:
        found = _content(self._credentials)
        # While it reconnects by itself, it may have read either; then this is for the next look.
        if found not in (None, self._used) and self._client.is_connected:
            self._used = found
            logger.info("the credentials have changed: reconnecting")
            await self._client.force_reconnect()

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    @property
    def client(self) -> Client:
        """For `platform` modules alone (buckets, administration)."""
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """For `platform` modules alone (buckets, administration)."""
        return self._js

    async def drain(self) -> None:
        """Take no more messages, and give those that are being handled a moment to end.

        For an orderly end, before the consumers are cancelled: whoever comes next has them at once.
        """
        self._is_draining = True
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=_DRAIN_SECONDS)

    async def close(self) -> None:
        """Flush what was published and disconnect; never longer than three seconds."""
        self._is_closing = True
        with contextlib.suppress(*_AWAY):  # the server may be gone: then nothing can be flushed
            async with asyncio.timeout(1.5):
                await self._client.flush(timeout=1)
        with contextlib.suppress(*_AWAY):
            async with asyncio.timeout(1.0):
                await self._client.close()

    async def publish(
        self,
        stream: Stream,
        subject: str,
        payload: bytes,
        *,
        message_id: str,
        headers: Mapping[str, str],
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> PublishAck:
        """Publish and wait until the stream has it on disk.

        Raises `Retryable` when no acknowledgement came in time: the message may still arrive, and
        sending it again under the same `message_id` is safe. Raises `Undeliverable` when no
        stream takes the subject: then nothing was stored.
        """
        if not self._client.is_connected:
            # Publishing now would only fill a buffer, and the caller would wait for nothing.
            raise Retryable("NATS is not connected")
        try:
            ack = await self._publisher.publish(
                subject,
                payload,
                {**headers, MESSAGE_ID_HEADER: message_id, _EXPECTED_STREAM: stream.name},
                timeout_seconds,
            )
        except nats.js.errors.NoStreamResponseError as error:
            raise Undeliverable(f"no stream takes {subject}: nothing was stored") from error
        except _AWAY as error:
            raise Retryable(f"stream {stream.name} did not acknowledge: {_say(error)}") from error
        end_if_cancelled()
        return PublishAck(ack["seq"], ack.get("duplicate", False))

    async def tell(self, subject: str, payload: bytes) -> None:
        """Publish for whoever happens to listen: nothing is kept, and nothing when NATS is away."""
        if self._client.is_connected:
            with contextlib.suppress(*_AWAY):  # it is for display, and the next one comes soon
                await self._client.publish(subject, payload)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> bytes:
        """Ask over core NATS. Raises `Retryable` when nobody answers in time."""
        if not self._client.is_connected:
            raise Retryable("NATS is not connected")
        try:
            reply = await self._client.request(
                subject, payload, timeout=timeout_seconds, headers=dict(headers or {}) or None
            )
        except nats.errors.NoRespondersError as error:
            raise Retryable(f"nobody serves {subject} at the moment") from error
        except _AWAY as error:
            raise Retryable(f"no answer on {subject}: {_say(error)}") from error
        end_if_cancelled()
        return reply.data

    async def serve(self, subject: str, respond: Responder, tasks: asyncio.TaskGroup) -> None:
        """Answer requests on `subject`, each in its own task of `tasks`."""
        await self.serve_all(subject, lambda _, data, headers: respond(data, headers), tasks)

    async def serve_all(
        self, subject: str, respond: SubjectResponder, tasks: asyncio.TaskGroup
    ) -> None:
        """The same on a subject with wildcards: `respond` is given what was asked on.

        All who serve it are asked, and the first answer counts, also when another of them hangs.
        """

        async def answer(message: Msg) -> None:
            reply = await respond(message.subject, message.data, message.headers or {})
            with contextlib.suppress(*_AWAY):  # the asker has a timeout and asks again
                await message.respond(reply)

        async def on_message(message: Msg) -> None:
            tasks.create_task(answer(message), name=f"answer {subject}")

        subscription = await self._client.subscribe(subject, cb=on_message)
        tasks.create_task(_keep(subscription), name=f"serve {subject}")
        end_if_cancelled()

    async def notice(self, subject: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something is published on `subject`; survives reconnections."""

        async def on_message(_: Msg) -> None:
            wake()

        await self._client.subscribe(subject, cb=on_message)
        end_if_cancelled()

    async def ensure_streams(self, *, replicas: int | None = None) -> None:
        """Create or update every declared stream and bucket. For the platform's administrator.

        `replicas`: on how many servers of a cluster each is kept; None: a new one on one, and those
        that are there as they are. Raises `Retryable` when NATS can't do it (now).
        """
        streams = [
            api.StreamConfig(
                name=stream.name,
                subjects=list(stream.subjects),
                retention=api.RetentionPolicy(stream.retention.value),
                storage=api.StorageType.FILE,
                max_age=stream.max_age_seconds,
                duplicate_window=stream.duplicate_window_seconds,
                discard=api.DiscardPolicy.NEW,
                allow_direct=True,
            )
            for stream in STREAMS
        ]
        try:
            for stream in streams:
                await self._ensure_stream(stream, replicas)
            for bucket in BUCKETS:
                await self._ensure_bucket(bucket, replicas)
        except nats.errors.Error as error:
            raise Retryable(f"streams can't be made: {_say(error)}") from error

    async def _ensure_stream(self, config: api.StreamConfig, replicas: int | None) -> None:
        try:
            await self._js.add_stream(config, num_replicas=replicas or 1)
        except nats.js.errors.BadRequestError:  # it is there, and different
            assert config.name is not None
            found = await self._js.stream_info(config.name)
            kept = replicas or found.config.num_replicas
            await self._js.update_stream(config, num_replicas=kept)

    async def _ensure_bucket(self, bucket: str, replicas: int | None) -> None:
        # `direct`: a bucket is read as a whole by one request, see `platform.buckets`.
        config = api.KeyValueConfig(
            bucket=bucket,
            history=1,
            storage=api.StorageType.FILE,
            direct=True,
            replicas=replicas or 1,
        )
        try:
            await self._js.create_key_value(config)
        except nats.js.errors.BadRequestError:  # it is there, and different
            found = (await self._js.stream_info(f"KV_{bucket}")).config
            kept = replicas or found.num_replicas
            await self._js.update_stream(
                found.evolve(allow_direct=True, max_msgs_per_subject=1, num_replicas=kept)
            )

    async def consume(
        self,
        stream: Stream,
        subject: str,
        durable: str,
        handle: Handler,
        *,
        only_new: bool = False,
    ) -> None:
        """Handle the messages of `subject` one after the other, for ever; ends on cancellation.

        `only_new`: a consumer that doesn't exist yet begins with what comes from now on.

        A handler that raises `Retryable` gets the message again after its delay; any other
        exception is logged with its traceback and the message comes again too: what can't be
        handled must be decided by the handler, which knows `Delivery.attempt`. `Fenced` ends it. A
        message whose handler is cut off is given back, so that whoever comes next has it at once.
        """
        while not self._is_draining:
            try:
                await self._ensure_consumer(stream, subject, durable, only_new=only_new)
                pull = await self._js.pull_subscribe_bind(durable, stream.name)
                end_if_cancelled()
            except _AWAY as error:
                logger.warning(
                    "consumer is not available yet",
                    extra={"consumer": durable, "error": _say(error)},
                )
                await pause(0.5)
                continue
            try:
                await self._pull(pull, handle)
            except _AWAY as error:
                logger.warning(
                    "consumer was interrupted", extra={"consumer": durable, "error": _say(error)}
                )
                await pause(0.2)
            finally:
                with contextlib.suppress(*_AWAY):  # a dead connection has no subscription to end
                    async with asyncio.timeout(1.0):
                        await pull.unsubscribe()
        await asyncio.Event().wait()

    async def _ensure_consumer(
        self, stream: Stream, subject: str, durable: str, *, only_new: bool
    ) -> None:
        await self._js.add_consumer(
            stream.name,
            api.ConsumerConfig(
                # Named as well: the request's subject then names the filter, and the server can
                # hold each role to its own (see contracts.nats_roles).
                name=durable,
                durable_name=durable,
                filter_subject=subject,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_SECONDS,
                deliver_policy=api.DeliverPolicy.NEW if only_new else api.DeliverPolicy.ALL,
                max_ack_pending=1,
                max_deliver=-1,
            ),
        )

    async def _pull(self, pull: JetStreamContext.PullSubscription, handle: Handler) -> None:
        while not self._is_draining:
            try:
                messages = await pull.fetch(1, timeout=_FETCH_SECONDS)
            except (TimeoutError, nats.errors.TimeoutError):
                end_if_cancelled()
                if not self._client.is_connected:
                    await pause(0.1)
                continue
            end_if_cancelled()
            for message in messages:
                if self._is_draining:
                    await message.nak()
                else:
                    await self._handle(message, handle)

    async def _handle(self, message: Msg, handle: Handler) -> None:
        meta = message.metadata
        delivery = Delivery(
            stream=meta.stream,
            subject=message.subject,
            data=message.data,
            headers=message.headers or {},
            sequence=meta.sequence.stream,
            attempt=meta.num_delivered,
            stored_at=meta.timestamp,
        )
        keep_alive = asyncio.create_task(_keep_alive(message), name="keep-alive")
        at_work = asyncio.get_running_loop().create_future()
        self._at_work.add(at_work)
        try:
            await handle(delivery)
        except Retryable as error:
            logger.info(
                "message will be tried again",
                extra={"subject": message.subject, "attempt": delivery.attempt, "why": str(error)},
            )
            await message.nak(delay=error.after_seconds)
        except (Fenced, asyncio.CancelledError):
            with contextlib.suppress(*_AWAY):  # without it the message comes a little later
                await message.nak()
            raise  # this process must stop; its successor gets the message
        except Exception:
            # The boundary of a message: nothing may end the consumer, and nothing is lost,
            # because the message stays unacknowledged and comes again.
            logger.exception(
                "handler failed", extra={"subject": message.subject, "attempt": delivery.attempt}
            )
            await message.nak(delay=_UNEXPECTED_DELAY_SECONDS)
        else:
            await message.ack()
        finally:
            keep_alive.cancel()
            self._at_work.discard(at_work)
            at_work.set_result(None)

    async def consumer_pending(self, stream: Stream, durable: str) -> int | None:
        """How many messages wait for a consumer; None when the consumer doesn't exist."""
        try:
            info = await self._js.consumer_info(stream.name, durable)
        except nats.js.errors.NotFoundError:
            return None
        except _AWAY as error:
            raise Retryable(f"consumer {durable}: {_say(error)}") from error
        end_if_cancelled()
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def consumer_names(self, stream: Stream) -> list[str]:
        """Names of all the stream's consumers. Raises `Retryable` if NATS is away."""
        names: list[str] = []
        try:
            # The server tells of 256 at a time.
            while page := await self._js.consumers_info(stream.name, offset=len(names)):
                names += (consumer.name for consumer in page)
        except _AWAY as error:
            raise Retryable(f"stream {stream.name}: {_say(error)}") from error
        end_if_cancelled()
        return names

    async def stream_exists(self, stream: Stream) -> bool:
        """Whether the stream is there with its subjects. Raises `Retryable` if NATS is away."""
        try:
            info = await self._js.stream_info(stream.name)
        except nats.js.errors.NotFoundError:
            return False
        except _AWAY as error:
            raise Retryable(f"stream {stream.name}: {_say(error)}") from error
        end_if_cancelled()
        return set(info.config.subjects or ()) == set(stream.subjects)

    async def delete_consumer(self, stream: Stream, durable: str) -> None:
        """Remove a consumer whose broker is gone; one that doesn't exist is fine."""
        try:
            await self._js.delete_consumer(stream.name, durable)
        except nats.js.errors.NotFoundError:
            pass
        except _AWAY as error:
            logger.warning(
                "consumer could not be removed", extra={"consumer": durable, "error": _say(error)}
            )
        end_if_cancelled()


def _require_file(credentials: str | None) -> None:
    if credentials is not None and not Path(credentials).is_file():
        raise Misconfigured(f"the NATS credentials file {credentials} is missing")


def _content(credentials: str | None) -> bytes | None:
    """None where there is no file, also for the moment in which it is replaced."""
    try:
        return None if credentials is None else Path(credentials).read_bytes()
    except OSError:
        return None


async def _keep(subscription: Subscription) -> None:
    """End a subscription with the task group that it belongs to: later, nobody could answer."""
    try:
        await asyncio.Event().wait()
    finally:
        with contextlib.suppress(*_AWAY):  # a dead connection has no subscription to end
            await subscription.unsubscribe()


async def _keep_alive(message: Msg) -> None:
    """Tell the stream, while a handler takes long, that it is still at work."""
    while True:
        await pause(_KEEP_ALIVE_SECONDS)
        with contextlib.suppress(*_AWAY):  # without it the message merely comes again
            await message.in_progress()


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__
