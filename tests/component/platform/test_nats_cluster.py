"""Streams on a NATS cluster of three are kept on as many servers as was asked for."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import nats
import pytest

from aristobot.contracts.streams import BUCKETS, STREAMS, WEBHOOKS, BrokerKey, webhook_subject
from aristobot.core.errors import Retryable
from aristobot.local.nats_server import find_binary
from aristobot.platform.bus import Bus
from aristobot.platform.waiting import patiently
from tests.harness.servers import free_port

SERVERS = 3
_ALL = [*(stream.name for stream in STREAMS), *(f"KV_{bucket}" for bucket in BUCKETS)]


class Cluster:
    """Three nats-servers with JetStream that form a cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [free_port() for _ in range(SERVERS)]
        self._routes = [free_port() for _ in range(SERVERS)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._ports[0]}"

    def start(self, number: int) -> None:
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in self._routes)
        self._processes[number] = subprocess.Popen(
            [
                *(str(find_binary()), "-a", "127.0.0.1", "-p", str(self._ports[number])),
                *("-n", f"server-{number}", "-js", "-sd", str(self._folder / str(number))),
                *("--cluster_name", "test", "--routes", routes),
                *("--cluster", f"nats://127.0.0.1:{self._routes[number]}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for number in list(self._processes):
            self.kill(number)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(tmp_path)
        stack.callback(made.stop)
        for number in range(SERVERS):
            made.start(number)
        yield made


async def _replicas(url: str) -> set[int | None]:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        return {(await jetstream.stream_info(name)).config.num_replicas for name in _ALL}
    finally:
        await client.close()


async def _all_have_caught_up(url: str) -> None:
    """A stream that is given more servers counts on them only when they have all of it."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        for name in _ALL:
            while True:
                peers = (await jetstream.stream_info(name)).cluster.replicas or []
                if len(peers) == SERVERS - 1 and all(peer.current for peer in peers):
                    break
                await asyncio.sleep(0.05)
    finally:
        await client.close()


async def _publish(bus: Bus, text: str) -> None:
    subject = webhook_subject(BrokerKey("owner", "broker"))
    await bus.publish(WEBHOOKS, subject, text.encode(), message_id=text, headers={})


@pytest.mark.chaos  # the elections of a cluster take many seconds
async def test_every_stream_is_kept_on_as_many_servers_as_was_asked_for(cluster: Cluster) -> None:
    bus = await Bus.connect(cluster.url, name="test", timeout_seconds=20)
    async with asyncio.timeout(60):
        # A cluster that has just begun has no leader yet.
        await patiently("streams", bus.ensure_streams)
        assert await _replicas(cluster.url) == {1}
        await patiently("streams", lambda: bus.ensure_streams(replicas=SERVERS))
        assert await _replicas(cluster.url) == {SERVERS}
        await bus.ensure_streams()
        assert await _replicas(cluster.url) == {SERVERS}

        await _all_have_caught_up(cluster.url)
        await patiently("publish", lambda: _publish(bus, "with all"))
        cluster.kill(2)
        await patiently("publish", lambda: _publish(bus, "with two"))
        cluster.kill(1)
        # One of three can't know whether it is still the cluster: it acknowledges nothing.
        with pytest.raises(Retryable):
            await _publish(bus, "alone")
    await bus.close()


async def test_a_single_server_can_t_keep_three_and_says_so(bus: Bus) -> None:
    with pytest.raises(Retryable, match="replicas"):
        await bus.ensure_streams(replicas=SERVERS)
