"""Binance's rate limits: request weight per address, new orders per account (reference 2.3).

Windows are fixed (they begin at whole minutes, ten seconds and days), as Binance's are. Whoever
goes on after a 429 is banned for a while (418). The control endpoint can change the limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from aristobot.simulator.binance.errors import banned, too_many_orders, too_much_weight

_MINUTE_MS, _TEN_SECONDS_MS, _DAY_MS = 60_000, 10_000, 86_400_000


@dataclass(slots=True)
class LimitValues:
    """The limits in force; `ignored_429s` is how many refusals in a minute lead to a ban."""

    weight_per_minute: int = 6_000
    orders_per_10_seconds: int = 1_000
    orders_per_day: int = 200_000
    ignored_429s: int = 20
    ban_seconds: int = 120


@dataclass(slots=True)
class _Window:
    number: int = -1
    count: int = 0

    def at(self, number: int) -> _Window:
        if self.number != number:
            self.number, self.count = number, 0
        return self


class Limits:
    """The counters. `now_ms` is the exchange's time everywhere."""

    def __init__(self) -> None:
        self.values = LimitValues()
        self._weight: dict[str, _Window] = {}
        self._refused: dict[str, _Window] = {}
        self._banned_until: dict[str, int] = {}
        self._orders_10s: dict[str, _Window] = {}
        self._orders_day: dict[str, _Window] = {}

    def used_weight(self, address: str, now_ms: int) -> int:
        return self._weight.setdefault(address, _Window()).at(now_ms // _MINUTE_MS).count

    def add_weight(self, address: str, weight: int, now_ms: int) -> None:
        """Count weight without refusing (a failed order pays after the fact)."""
        self._weight.setdefault(address, _Window()).at(now_ms // _MINUTE_MS).count += weight

    def take_weight(self, address: str, weight: int, now_ms: int) -> None:
        """Count a request, or raise the 429 (418 for whoever does not stop)."""
        until = self._banned_until.get(address, 0)
        if now_ms < until:
            raise banned(until, _seconds(until - now_ms))
        minute = now_ms // _MINUTE_MS
        window = self._weight.setdefault(address, _Window()).at(minute)
        window.count += weight
        if window.count <= self.values.weight_per_minute:
            return
        refused = self._refused.setdefault(address, _Window()).at(minute)
        refused.count += 1
        if refused.count > self.values.ignored_429s:
            until = now_ms + self.values.ban_seconds * 1000
            self._banned_until[address] = until
            raise banned(until, self.values.ban_seconds)
        raise too_much_weight(
            self.values.weight_per_minute, _seconds(_MINUTE_MS - now_ms % _MINUTE_MS)
        )

    def order_counts(self, api_key: str, now_ms: int) -> tuple[int, int]:
        """Unfilled orders of this ten-second window and of this day."""
        ten, day = self._order_windows(api_key, now_ms)
        return ten.count, day.count

    def check_order(self, api_key: str, now_ms: int, orders: int = 1) -> None:
        """Raise -1015 when the account may not place that many more orders now."""
        ten, day = self._order_windows(api_key, now_ms)
        if ten.count + orders > self.values.orders_per_10_seconds:
            wait = _seconds(_TEN_SECONDS_MS - now_ms % _TEN_SECONDS_MS)
            raise too_many_orders(self.values.orders_per_10_seconds, "10 SECONDS", wait)
        if day.count + orders > self.values.orders_per_day:
            wait = _seconds(_DAY_MS - now_ms % _DAY_MS)
            raise too_many_orders(self.values.orders_per_day, "1 DAY", wait)

    def order_placed(self, api_key: str, now_ms: int) -> None:
        for window in self._order_windows(api_key, now_ms):
            window.count += 1

    def order_filled(self, api_key: str, now_ms: int) -> None:
        """An order's first fill takes it out of the count of unfilled ones."""
        for window in self._order_windows(api_key, now_ms):
            window.count = max(0, window.count - 1)

    def lift(self) -> None:
        """Forget bans and counts (after the limits were changed)."""
        for counters in (self._weight, self._refused, self._orders_10s, self._orders_day):
            counters.clear()
        self._banned_until.clear()

    def _order_windows(self, api_key: str, now_ms: int) -> tuple[_Window, _Window]:
        return (
            self._orders_10s.setdefault(api_key, _Window()).at(now_ms // _TEN_SECONDS_MS),
            self._orders_day.setdefault(api_key, _Window()).at(now_ms // _DAY_MS),
        )


def _seconds(milliseconds: int) -> int:
    """Whole seconds to wait, never too few."""
    return -(-milliseconds // 1000)
