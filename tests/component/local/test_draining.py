"""Ingress told to stop with a request half received, as when its pod is replaced under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from aristobot.contracts import nats_roles
from aristobot.contracts.directory import TokenRecord
from aristobot.contracts.keys import token_hash
from aristobot.contracts.streams import TOKENS_BUCKET
from aristobot.local.parts import answers_ok
from tests.component.local.conftest import Place, eventually
from tests.component.local.nats_users import Roles

TOKEN = "t" * 43
BODY = b'{"Action": "PING"}'


async def test_ingress_answers_what_it_has_begun_and_takes_no_more(
    roles: Roles, place: Place
) -> None:
    admin = await roles.connect(nats_roles.admin())
    tokens = await admin.js.key_value(TOKENS_BUCKET)
    await tokens.put(token_hash(TOKEN), TokenRecord(owner="demo", broker="main").encode())
    port = place.postgres_port
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "aristobot", "ingress", "--port", str(port)),
        env={
            **os.environ,
            "ARISTOBOT_NATS_URL": place.nats_url,
            "ARISTOBOT_NATS_CREDENTIALS": str(roles.credentials(nats_roles.ingress())),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:

        async def is_ready() -> bool:
            with contextlib.suppress(OSError):
                return await answers_ok(port, "/readyz")
            return False

        async def takes_no_more() -> bool:
            with contextlib.suppress(OSError):
                _, other = await asyncio.open_connection("127.0.0.1", port)
                other.close()
                return False
            return True

        await eventually(is_ready, within_seconds=20)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /webhook/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        writer.write(head.encode() + BODY[:5])
        await writer.drain()
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        await eventually(takes_no_more, within_seconds=5)
        writer.write(BODY[5:])
        async with asyncio.timeout(5):
            answer = await reader.read()  # to the end: the connection isn't kept for another
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
        async with asyncio.timeout(5):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    stored = await admin.js.get_msg("WEBHOOKS", 1)
    assert (stored.subject, stored.data) == ("webhooks.received.demo.main", BODY)
