"""Who listens to which account, and what they get: the user data stream's events (reference 3.3).

The hub is a listener of the engine; it renders each change once per subscribed account and puts it
into the connections' queues. There is no replay: whoever is not connected misses the event. A
connection that does not read falls behind only so far, then it is closed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aristobot.simulator.accounts import Account
from aristobot.simulator.binance.list_rendering import list_status
from aristobot.simulator.binance.rendering import (
    account_position,
    balance_updates,
    execution_report,
)
from aristobot.simulator.book import BalanceSet, Change, ListChange, OrderChange
from aristobot.simulator.clock import Clock

_LONGEST_QUEUE = 10_000


def _account_of(change: Change) -> Account:
    if isinstance(change, OrderChange):
        return change.order.account
    return change.list.account if isinstance(change, ListChange) else change.account


class Connection:
    """One WebSocket API connection: its outgoing messages and its subscriptions."""

    def __init__(self) -> None:
        self.outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        self.subscriptions: dict[int, Account] = {}
        self.is_closing = False
        self._next_subscription = 0

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; a reader that is too far behind is disconnected."""
        if self.is_closing:
            return
        if self.outgoing.qsize() >= _LONGEST_QUEUE:
            self.close()
            return
        self.outgoing.put_nowait(json.dumps(message, separators=(",", ":")))

    def close(self) -> None:
        """Ask the connection's writer to close the socket after what is queued."""
        self.is_closing = True
        self.outgoing.put_nowait(None)

    def subscribe(self, account: Account) -> int:
        number = self._next_subscription
        self._next_subscription += 1
        self.subscriptions[number] = account
        return number


class StreamHub:
    """All connections, and the withholding of events that a fault asks for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._connections: set[Connection] = set()
        self._execution_id = 0
        self._muted: dict[str | None, list[Callable[[], None]]] = {}
        self._timers: dict[str | None, asyncio.TimerHandle] = {}

    def add(self, connection: Connection) -> None:
        self._connections.add(connection)

    def remove(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def take(self, change: Change) -> None:
        """The engine's listener."""
        if isinstance(change, OrderChange):
            self._execution_id += 1
        account = _account_of(change)
        targets = [
            (connection, number)
            for connection in self._connections
            for number, subscriber in connection.subscriptions.items()
            if subscriber is account
        ]
        if not targets:
            return
        for event in self._render(change):
            self._deliver(account, targets, event)

    def _render(self, change: Change) -> list[dict[str, Any]]:
        now = self._clock.now_ms()
        if isinstance(change, ListChange):
            return [list_status(change, now)]
        if isinstance(change, BalanceSet):
            assets = tuple(change.deltas)
            position = account_position(change.account, assets, now, change.time_ms)
            return [*balance_updates(change, now), position]
        pair = change.order.pair
        return [
            execution_report(change, now, self._execution_id),
            account_position(change.order.account, (pair.base, pair.quote), now, change.time_ms),
        ]

    def _deliver(
        self, account: Account, targets: list[tuple[Connection, int]], event: dict[str, Any]
    ) -> None:
        def send() -> None:
            for connection, number in targets:
                if number in connection.subscriptions:
                    connection.send({"subscriptionId": number, "event": event})

        for key in (account.api_key, None):
            if key in self._muted:
                self._muted[key].append(send)
                return
        send()

    def mute(self, api_key: str | None, seconds: float, on_end: Callable[[], None]) -> None:
        """Withhold events (of one account, or all) for a while; then they come, in order.

        Muting what is muted replaces the time that is left.
        """

        def end() -> None:
            self.unmute(api_key)
            on_end()

        self._muted.setdefault(api_key, [])
        self._stop_timer(api_key)
        self._timers[api_key] = asyncio.get_running_loop().call_later(seconds, end)

    def unmute(self, api_key: str | None) -> None:
        """Deliver what was withheld; nothing happens when nothing is muted."""
        self._stop_timer(api_key)
        for send in self._muted.pop(api_key, []):
            send()

    def _stop_timer(self, api_key: str | None) -> None:
        timer = self._timers.pop(api_key, None)
        if timer is not None:
            timer.cancel()

    def drop(self, api_key: str | None) -> int:
        """Close the connections that have a user stream (of this account); how many."""
        dropped = 0
        for connection in list(self._connections):
            accounts = connection.subscriptions.values()
            if any(api_key is None or account.api_key == api_key for account in accounts):
                connection.subscriptions.clear()
                connection.close()
                dropped += 1
        return dropped

    def close(self) -> None:
        """Stop timers and ask every connection to close."""
        for api_key in list(self._timers):
            self._stop_timer(api_key)
        for connection in list(self._connections):
            connection.close()
