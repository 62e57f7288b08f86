"""Reading and writing a NATS key-value bucket as a whole, or one key of it as if it were all.

A bucket is read by batched direct requests (NATS ADR-31) and not by a watcher: nats-py 2.16 may
say "that is all" before all has come, and an empty answer here would void every webhook token.
They go through its messages in their order and not by subject, where 1024 keys would be the most,
and deleted ones, whose marks stay, would count.
One key is for a user who may see no other: it is asked for and written by its own subject.
Deliberately not here: following a bucket (`platform.kv_mirror`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping

import nats.errors
import nats.js.errors
from nats.aio.subscription import Subscription

from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import pause

#: How many keys are asked for at a time.
PAGE = 500

_AWAY = (nats.errors.Error, nats.js.errors.Error, asyncio.TimeoutError, OSError)
_REPLY_SECONDS = 2.0
#: How long a server of a cluster is waited for that lags behind its leader.
_LAG_SECONDS = 2.0
_AGAIN_SECONDS = 0.05


class Bucket:
    """One bucket, or of it only the key `only`. Every call raises `Retryable` when NATS is away."""

    def __init__(self, bus: Bus, name: str, *, only: str | None = None) -> None:
        self._bus = bus
        self._name = name
        self._only = only

    @property
    def subject(self) -> str:
        """On which its writes are announced."""
        return f"$KV.{self._name}.{self._only or '>'}"

    async def read(self) -> dict[str, bytes]:
        """Every present key with its value. Raises `Retryable`."""
        try:
            return await (self._read() if self._only is None else self._read_key(self._only))
        except _AWAY as error:
            raise Retryable(f"bucket {self._name}: {error or type(error).__name__}") from error

    async def put(self, key: str, value: bytes) -> None:
        try:
            await self._write(key, value)
        except _AWAY as error:
            raise Retryable(f"bucket {self._name}: {error or type(error).__name__}") from error

    async def delete(self, key: str) -> None:
        """Remove a key; one that isn't there is fine."""
        try:
            await self._write(key, b"", deleted=True)
        except _AWAY as error:
            raise Retryable(f"bucket {self._name}: {error or type(error).__name__}") from error

    async def make_equal(self, wanted: Mapping[str, bytes]) -> None:
        """Make the bucket hold exactly `wanted`; only what differs is written."""
        present = await self.read()
        try:
            for key, value in wanted.items():
                if present.get(key) != value:
                    await self._write(key, value)
            for key in present.keys() - wanted.keys():
                await self._write(key, b"", deleted=True)
        except _AWAY as error:
            raise Retryable(f"bucket {self._name}: {error or type(error).__name__}") from error

    async def keep_only(self, keys: set[str]) -> None:
        """Remove every other key."""
        present = await self.read()
        await self.make_equal({key: value for key, value in present.items() if key in keys})

    async def _write(self, key: str, value: bytes, *, deleted: bool = False) -> None:
        # As nats-py does it, but without asking for the stream first: not every user may, and it
        # would be a second round trip for each key.
        await self._bus.jetstream.publish(
            f"$KV.{self._name}.{key}",
            value,
            stream=f"KV_{self._name}",
            headers={"KV-Operation": "DEL"} if deleted else None,
        )

    async def _read_key(self, key: str) -> dict[str, bytes]:
        reply = await self._bus.client.request(
            f"$JS.API.DIRECT.GET.KV_{self._name}.$KV.{self._name}.{key}", timeout=_REPLY_SECONDS
        )
        headers = reply.headers or {}
        match headers.get("Status"):
            case None:
                return {} if "KV-Operation" in headers else {key: reply.data}
            case "404":
                return {}
            case status:
                raise Retryable(f"bucket {self._name}: {status} {headers.get('Description', '')}")

    async def _read(self) -> dict[str, bytes]:
        """Page by page, until there is nothing behind the last message seen.

        A key holds one message (history 1), and a change moves it to the end. So what changes
        meanwhile is met again, and nothing that was there all the time can be missed. Of a cluster
        each page may come from another server, and one that lags has no message yet where a page
        of an up-to-date one had none any more: what takes several pages ends where the stream's
        leader says that it does, and not before.
        """
        client = self._bus.client
        inbox = client.new_inbox()
        entries: dict[str, bytes] = {}
        async with asyncio.timeout(_REPLY_SECONDS):
            subscription = await client.subscribe(inbox)
        try:
            seen, is_whole = await self._page(subscription, 0, entries)
            give_up_at = time.monotonic() + _LAG_SECONDS
            while not is_whole:
                seen, is_end = await self._page(subscription, seen, entries)
                if is_end and not (is_whole := seen >= await self._newest()):
                    if time.monotonic() > give_up_at:
                        raise Retryable(f"bucket {self._name}: a NATS server lags behind")
                    await pause(_AGAIN_SECONDS)
        finally:
            with contextlib.suppress(*_AWAY):  # a dead connection has no subscription to end
                async with asyncio.timeout(_REPLY_SECONDS):
                    await subscription.unsubscribe()
        return entries

    async def _page(
        self, subscription: Subscription, after: int, entries: dict[str, bytes]
    ) -> tuple[int, bool]:
        """Read on behind the sequence `after`: up to which one, and whether nothing was left."""
        request = {"seq": after + 1, "batch": PAGE, "next_by_subj": f"$KV.{self._name}.>"}
        async with asyncio.timeout(_REPLY_SECONDS):
            await self._bus.client.publish(
                f"$JS.API.DIRECT.GET.KV_{self._name}",
                json.dumps(request).encode(),
                reply=subscription.subject,
            )
        last, count = after, 0
        while True:
            message = await subscription.next_msg(timeout=_REPLY_SECONDS)
            headers = message.headers or {}
            match headers.get("Status"):
                case None:
                    last, count = int(headers["Nats-Sequence"]), count + 1
                    key = headers["Nats-Subject"].removeprefix(f"$KV.{self._name}.")
                    # A deletion is an entry too, marked by its operation.
                    if "KV-Operation" in headers:
                        entries.pop(key, None)
                    else:
                        entries[key] = message.data
                case "204":  # the end of the page; a full one may lack what has moved meanwhile
                    return last, count < PAGE and headers["Nats-Num-Pending"] == "0"
                case "404":  # nothing there
                    return last, True
                case status:
                    reason = headers.get("Description", "")
                    raise Retryable(f"bucket {self._name}: {status} {reason}")

    async def _newest(self) -> int:
        """The sequence of the newest message, which the stream's leader alone is asked for."""
        reply = await self._bus.client.request(
            f"$JS.API.STREAM.MSG.GET.KV_{self._name}",
            json.dumps({"last_by_subj": f"$KV.{self._name}.>"}).encode(),
            timeout=_REPLY_SECONDS,
        )
        answer = json.loads(reply.data)
        if "error" in answer:
            raise Retryable(f"bucket {self._name}: {answer['error'].get('description', '')}")
        return int(answer["message"]["seq"])
