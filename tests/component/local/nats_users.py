"""Connects to a real server as any role, and remembers what the server refused."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from aristobot.contracts.nats_roles import NatsRole
from aristobot.platform.nats_auth import issue_role, write_private

if TYPE_CHECKING:
    from tests.component.local.conftest import Place


@dataclass
class User:
    """A connection of a role, and what the server refused it."""

    client: Client
    refused: list[str] = field(default_factory=list)

    @property
    def js(self) -> JetStreamContext:
        return self.client.jetstream(timeout=1)

    async def is_refused(self, subject: str, *, subscribing: bool = False) -> bool:
        """Whether publishing on (or subscribing to) `subject` is a permissions violation."""
        before = len(self.refused)
        if subscribing:
            await self.client.subscribe(subject)
        else:
            await self.client.publish(subject, b"{}")
        await self.client.flush(timeout=2)
        await asyncio.sleep(0.05)
        kind = "subscription" if subscribing else "publish"
        # nats-py gives the server's text in lower case.
        wanted = f'permissions violation for {kind} to "{subject.lower()}"'
        return any(wanted in text.lower() for text in self.refused[before:])


class Roles:
    """Connects as any role."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._users: list[User] = []

    def credentials(self, role: NatsRole) -> Path:
        file = self._place.data / "creds" / f"{role.name}.creds"
        if not file.exists():
            write_private(file, issue_role(self._place.trust, role))
        return file

    async def connect(self, role: NatsRole, *, inbox_prefix: str | None = None) -> User:
        refused: list[str] = []

        async def on_error(error: Exception) -> None:
            refused.append(str(error))

        client = await nats.connect(
            self._place.nats_url,
            user_credentials=str(self.credentials(role)),
            inbox_prefix=inbox_prefix or role.inbox_prefix,
            error_cb=on_error,
            allow_reconnect=False,
            connect_timeout=3,
        )
        self._users.append(User(client, refused))
        return self._users[-1]

    async def close(self) -> None:
        for user in self._users:
            with contextlib.suppress(nats.errors.Error):  # the test may have cut it
                await asyncio.wait_for(user.client.close(), 2)
