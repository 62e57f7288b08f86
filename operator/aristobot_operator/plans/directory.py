"""What services are told by the NATS buckets: tokens, brokers and active strategies.

One pure function from all that was seen to all that should stand there; `acting.directory` writes
the differences. A broker that can't be run (no credentials yet) is told all the same: its
webhooks must be recorded. What can't be read (this code is older than the CRD, or stricter) is no
reason to take anything away: what was told of it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aristobot.contracts.directory import ActiveStrategyRecord, BrokerRecord, TokenRecord
from aristobot.contracts.resources import ActiveStrategy, Broker
from aristobot.contracts.streams import BrokerKey
from aristobot.contracts.workload import OWNER_WEBHOOK_SECRET, webhook_secret
from aristobot_operator.cache import Cache, key_of, name_of
from aristobot_operator.plans.seen import Problem, parsed, record_or_problem
from aristobot_operator.reasons import Reason

TOKEN_ENTRY = "token"


@dataclass(frozen=True, slots=True)
class Directory:
    """By bucket: key -> value. `resting`: active strategies whose candles need not be kept.

    `unread_brokers`, `unread_strategies`: keys that stay as they are.
    """

    brokers: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, bytes] = field(default_factory=dict)
    strategies: dict[str, bytes] = field(default_factory=dict)
    resting: frozenset[str] = frozenset()
    unread_brokers: frozenset[str] = frozenset()
    unread_strategies: frozenset[str] = frozenset()


def wanted_directory(cache: Cache, owners: Sequence[str]) -> Directory:
    """Everything that should stand in the buckets now."""
    brokers: dict[str, bytes] = {}
    tokens: dict[str, bytes] = {}
    strategies: dict[str, bytes] = {}
    resting: set[str] = set()
    unread_brokers: set[str] = set()
    unread_strategies: set[str] = set()
    for owner in owners:
        for found in cache.all("Broker", owner):
            broker, key = parsed(cache, found, Broker), str(BrokerKey(owner, name_of(found)))
            if isinstance(broker, Problem):
                unread_brokers.add(key)
            else:
                brokers[key] = BrokerRecord.of(owner, broker).encode()
            if token := _token(cache, owner, webhook_secret(name_of(found))):
                tokens[token] = TokenRecord(owner=owner, broker=name_of(found)).encode()
        if token := _token(cache, owner, OWNER_WEBHOOK_SECRET):
            tokens.setdefault(token, TokenRecord(owner=owner).encode())
        for found in cache.all("ActiveStrategy", owner):
            key = f"{owner}.{name_of(found)}"
            active = parsed(cache, found, ActiveStrategy)
            if isinstance(active, Problem):
                continue  # its pod rests
            record = record_or_problem(cache, found, active)
            if isinstance(record, ActiveStrategyRecord):
                strategies[key] = cache.derived(
                    "encoded", key_of("ActiveStrategy", found), (record,), record.encode
                )
                if record.paused or not record.active:
                    resting.add(key)
            elif record.reason == Reason.BROKER_NOT_READY:
                unread_strategies.add(key)  # its pod is left as it is
    return Directory(
        brokers,
        tokens,
        strategies,
        frozenset(resting),
        frozenset(unread_brokers),
        frozenset(unread_strategies),
    )


def _token(cache: Cache, owner: str, secret: str) -> str | None:
    """The token's SHA-256, which is both what the cache keeps and the bucket's key."""
    found = cache.get("Secret", owner, secret)
    digest: str | None = (found or {}).get("digests", {}).get(TOKEN_ENTRY)
    return digest
