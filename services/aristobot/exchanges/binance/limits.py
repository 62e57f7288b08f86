"""What may be sent to Binance now: request weight, order count and bans.

Three rules (exchange reference 2.3). The weight used in the running minute comes from the
response headers (it counts per IP, so other processes are in it) plus what is in flight here;
reads stop at a share of the limit, so that orders and their look-ups always have room. The count
of unfilled orders holds back placing alone, and only in its short window: fills lower the daily
count without telling. After a 429 or 418 nothing is sent until Retry-After has passed.

Nothing sleeps here: whoever may not send gets a `Retryable` with the seconds to wait. A ban is
remembered by this process only; one that restarts during a ban learns of it from one request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from aristobot.core.errors import Retryable

DEFAULT_WEIGHT_PER_MINUTE = 6000
RESERVED_SHARE = 0.25
DEFAULT_BAN_SECONDS = 120.0  # the shortest ban that Binance documents
TOO_MANY_ORDERS = -1015
_MINUTE_MS = 60_000
_WEIGHT_HEADER = "x-mbx-used-weight-1m"
_MARGIN_SECONDS = 0.1  # our clock may be slightly ahead when a window ends


class Use(Enum):
    """What a request is for: `READ` yields to the others; `PLACE` also obeys the order count."""

    READ = "read"
    LOOK_UP = "look-up"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Limit:
    """One entry of `exchangeInfo.rateLimits`; the window is `window_ms` long."""

    kind: str
    window_ms: int
    limit: int
    header: str


@dataclass(slots=True)
class Ticket:
    """Permission for one request; must be handed back with `settle`."""

    weight: int
    use: Use
    minute: int
    orders: int


class RequestBudget:
    """One per client. `now_ms` is the exchange's clock: its windows begin on whole minutes."""

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        weight_per_minute: int = DEFAULT_WEIGHT_PER_MINUTE,
    ) -> None:
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._weight_limit = weight_per_minute
        self._minute = 0
        self._used = 0
        self._weight_in_flight = 0
        self._orders_in_flight = 0
        self._order_limits: tuple[Limit, ...] = ()
        self._order_counts: dict[str, tuple[int, int]] = {}  # header: (window number, count)
        self._banned_until = 0.0
        self._no_orders_until = 0.0

    def learn(self, limits: Sequence[Limit]) -> None:
        """Take over the limits that the exchange states of itself."""
        for limit in limits:
            if limit.kind == "REQUEST_WEIGHT" and limit.window_ms == _MINUTE_MS:
                self._weight_limit = limit.limit
        self._order_limits = tuple(
            limit for limit in limits if limit.kind == "ORDERS" and limit.window_ms <= _MINUTE_MS
        )

    def admit(self, weight: int, use: Use, orders: int = 1) -> Ticket:
        """Reserve the weight, or raise `Retryable` with the seconds until it may be sent.

        `orders` is how many orders a request that places adds to the count.
        """
        wait = self.wait_seconds(weight, use, orders)
        if wait > 0:
            raise Retryable(
                f"Not sent: Binance's limits leave no room for {wait:.1f} s.", after_seconds=wait
            )
        self._weight_in_flight += weight
        if use is not Use.PLACE:
            orders = 0
        self._orders_in_flight += orders
        return Ticket(weight, use, self._minute, orders)

    def wait_seconds(self, weight: int, use: Use, orders: int = 1) -> float:
        """How long a request of that weight has to wait; 0 when it may go now."""
        now = self._now_ms()
        self._turn_minute(now)
        wait = self._banned_until - self._monotonic()
        allowed = self._weight_limit
        if use is Use.READ:
            allowed -= int(self._weight_limit * RESERVED_SHARE)
        if self._used + self._weight_in_flight + weight > allowed:
            wait = max(wait, _until_next(now, _MINUTE_MS))
        if use is Use.PLACE:
            held = self._no_orders_until - self._monotonic()
            wait = max(wait, held, self._order_wait(now, orders))
        return max(wait, 0.0)

    def settle(
        self,
        ticket: Ticket,
        *,
        status: int | None,
        headers: Mapping[str, str],
        code: int | None = None,
    ) -> None:
        """Account for an answer; `status` None: none came, so the weight may have been used."""
        self._weight_in_flight -= ticket.weight
        self._orders_in_flight -= ticket.orders
        now = self._now_ms()
        self._turn_minute(now)
        told = _whole(headers.get(_WEIGHT_HEADER))
        if told is None:
            self._used += ticket.weight
        elif ticket.minute == self._minute:  # else the number may be the past minute's
            self._used = max(self._used, told)
        for limit in self._order_limits:
            count = _whole(headers.get(limit.header))
            if count is not None:
                self._order_counts[limit.header] = (now // limit.window_ms, count)
        if status in (429, 418):
            self._stop(retry_after_seconds(headers), status=status, code=code, now=now)

    def note_used_weight(self, count: int) -> None:
        """The used weight as a WebSocket API reply tells it."""
        self._turn_minute(self._now_ms())
        self._used = max(self._used, count)

    def ban(self, seconds: float) -> None:
        """Send nothing for that long."""
        self._banned_until = max(self._banned_until, self._monotonic() + seconds)

    def _stop(self, asked: float | None, *, status: int, code: int | None, now: int) -> None:
        if code == TOO_MANY_ORDERS and status == 429:
            # Only placing is over its limit: looking up what happened must stay possible.
            seconds = asked if asked is not None else _until_next(now, 10_000)
            self._no_orders_until = max(self._no_orders_until, self._monotonic() + seconds)
            return
        default = DEFAULT_BAN_SECONDS if status == 418 else _until_next(now, _MINUTE_MS)
        self.ban(asked if asked is not None else default)

    def _turn_minute(self, now_ms: int) -> None:
        minute = now_ms // _MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._used = 0

    def _order_wait(self, now_ms: int, orders: int) -> float:
        wait = 0.0
        for limit in self._order_limits:
            window, count = self._order_counts.get(limit.header, (-1, 0))
            if window != now_ms // limit.window_ms:
                count = 0
            if count + self._orders_in_flight + orders > limit.limit:
                wait = max(wait, _until_next(now_ms, limit.window_ms))
        return wait


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header in seconds; None when absent or unreadable."""
    told = _whole(headers.get("retry-after"))
    return None if told is None else float(told)


def _until_next(now_ms: int, window_ms: int) -> float:
    return (window_ms - now_ms % window_ms) / 1000 + _MARGIN_SECONDS


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
