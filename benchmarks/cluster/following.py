"""Follows objects by watches of our own, beside the operator's, and says when one is as awaited.

The moment that counts is when this client has read the event, by one monotonic clock, so it holds
the watch's way too. Deliberately not here: what is awaited (`crowd`, `pods`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.support.kube_api.bare import ApiClient

Object = dict[str, Any]
#: The objects of all that is followed, by (plural, name).
Seen = Mapping[tuple[str, str], Object]

_WATCH_SECONDS = 3600
_NO_LIMIT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class Missing(Exception):
    """What was awaited hasn't come."""


class Following:
    """What watches have shown so far. `told`: who hears of each change, by name."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._seen: dict[tuple[str, str], Object] = {}
        self._told: list[Callable[[str], None]] = []

    def get(self, plural: str, name: str) -> Object | None:
        return self._seen.get((plural, name))

    def all(self, plural: str, prefix: str) -> list[Object]:
        """Those of a kind whose names begin so."""
        return [
            each
            for (of, name), each in self._seen.items()
            if of == plural and name.startswith(prefix)
        ]

    async def until(
        self,
        names: set[str],
        is_so: Callable[[str], bool],
        *,
        seconds: float,
        progress: Callable[[int], None] = lambda _: None,
    ) -> dict[str, float]:
        """When (monotonic clock) it was so of each name. Raises `Missing` naming one that isn't.

        `names`: what the objects concerned are called, without what a child's name begins with.
        """
        found: dict[str, float] = {}
        everything = asyncio.Event()

        def look(name: str) -> None:
            if name in names and name not in found and is_so(name):
                found[name] = time.monotonic()
                progress(len(found))
                if len(found) == len(names):
                    everything.set()

        self._told.append(look)
        try:
            for name in names:
                look(name)
            async with asyncio.timeout(seconds):
                await everything.wait()
        except TimeoutError:
            missing = sorted(names - found.keys())
            raise Missing(f"{len(missing)} of {len(names)} not yet, such as {missing[0]}") from None
        finally:
            self._told.remove(look)
        return found

    async def run(self, plural: str, selector: str, name_of: Callable[[str], str]) -> None:
        """Follow one kind until cancelled. `name_of`: of the resource, by its child's name."""
        query = {"labelSelector": selector} if selector else {}
        path = self._client.path(plural)
        listed = await self._client.did("GET", path, **query)
        for each in listed["items"]:
            self._take(plural, {"type": "ADDED", "object": each}, name_of)
        query |= {
            "watch": "true",
            "resourceVersion": listed["metadata"]["resourceVersion"],
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._client.session.get(
            self._client.url + path, params=query, timeout=_NO_LIMIT
        ) as response:
            response.raise_for_status()
            async for line in _lines(response.content):
                self._take(plural, json.loads(line), name_of)
        raise Missing(f"the watch of {plural} has ended")

    def _take(self, plural: str, event: Object, name_of: Callable[[str], str]) -> None:
        found = event["object"]
        if event["type"] == "ERROR":
            raise Missing(f"the watch of {plural} has ended: {found.get('message')}")
        name = found["metadata"]["name"]
        if event["type"] == "DELETED":
            self._seen.pop((plural, name), None)
        else:
            self._seen[plural, name] = found
        for tell in tuple(self._told):
            tell(name_of(name))


@asynccontextmanager
async def following(
    client: ApiClient, *kinds: tuple[str, str, Callable[[str], str]]
) -> AsyncIterator[Following]:
    """Follow kinds, each given by plural, label selector and how a child's name tells whose it is.

    Ends with an error when one of the watches does.
    """
    found = Following(client)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(found.run(*kind)) for kind in kinds]
        # Each has listed before anything is measured.
        await asyncio.sleep(0.5)
        yield found
        for task in running:
            task.cancel()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """As `async for`, but a line may be longer than the reader's buffer."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
