"""The permission sets: nobody reaches what is another's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.contracts import nats_roles
from aristobot.contracts.nats_roles import NatsRole
from aristobot.contracts.streams import (
    BrokerKey,
    command_subject,
    decision_subject,
    event_subject,
    holdings_query_subject,
    webhook_subject,
)
from aristobot.core.errors import Misconfigured

LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\Z")
KEYS = st.builds(BrokerKey, LABELS, LABELS)
ROLES = [
    nats_roles.ingress(),
    nats_roles.engine(),
    nats_roles.api(),
    nats_roles.admin(),
    nats_roles.gateway("demo", "demo"),
    nats_roles.gateway("demo", "other"),
    nats_roles.operator(),
]


def _matches(pattern: str, subject: str) -> bool:
    """NATS's subject matching, written anew for the test."""
    wanted, given_ = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(given_) > position
        if position >= len(given_) or token not in ("*", given_[position]):
            return False
    return len(wanted) == len(given_)


def _may_publish(role: NatsRole, subject: str) -> bool:
    return any(_matches(pattern, subject) for pattern in role.publish_allow)


def _may_subscribe(role: NatsRole, subject: str) -> bool:
    return any(_matches(pattern, subject) for pattern in role.subscribe_allow)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_only_the_own_inbox_can_be_read(role: NatsRole) -> None:
    readable = [each.name for each in ROLES if _may_subscribe(role, f"{each.inbox_prefix}.x.y")]
    assert readable == [role.name]
    assert not _may_subscribe(role, "_INBOX.x")


@given(KEYS, KEYS)
def test_a_gateway_acts_for_its_own_broker_alone(mine: BrokerKey, other: BrokerKey) -> None:
    role = nats_roles.gateway(mine.owner, mine.broker)
    theirs = nats_roles.gateway(other.owner, other.broker)
    assert _may_publish(role, event_subject(other)) == (mine == other)
    assert _may_subscribe(role, f"gateway.query.{other}") == (mine == other)
    assert (role.inbox_prefix == theirs.inbox_prefix) == (mine == other)
    shared = set(role.publish_allow) & set(theirs.publish_allow)
    if mine != other:
        assert all(".STREAM.INFO." in subject for subject in shared)


@given(KEYS)
def test_each_kind_of_message_has_its_source(key: BrokerKey) -> None:
    gateway = nats_roles.gateway(key.owner, key.broker)
    everybody = [*ROLES[:4], gateway, ROLES[-1]]

    def sources(subject: str) -> list[str]:
        return [role.name for role in everybody if _may_publish(role, subject)]

    assert sources(webhook_subject(key)) == ["ingress"]
    # The engine decides; the api passes on what a person asks for by hand.
    assert sources(command_subject(key)) == ["engine", "api"]
    assert sources(event_subject(key)) == [gateway.name]
    # And the operator, whose decisions the engine judges like a person's.
    assert sources(decision_subject(key, "ema")) == ["api", "operator"]
    assert sources(f"$KV.brokers.{key}") == ["admin", "operator"]
    assert sources("$KV.webhook_tokens.abc") == ["admin", "operator"]
    assert sources("$JS.API.STREAM.DELETE.ORDERS") == ["admin"]
    assert sources("$JS.API.STREAM.CREATE.ORDERS") == ["admin", "operator"]
    # What all hold is told to nobody who trades.
    assert sources(holdings_query_subject(key)) == ["operator"]
    # It names no filter, so it could not be limited to one broker.
    assert sources(f"$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.{gateway.name}") == ["admin"]


@pytest.mark.parametrize("role", ROLES[:3] + ROLES[4:], ids=lambda role: role.name)
def test_no_service_may_publish_everything(role: NatsRole) -> None:
    assert not _may_publish(role, "anything.at.all")
    assert not _may_publish(role, "$SYS.REQ.SERVER.PING")
    assert not _may_publish(role, "$JS.API.STREAM.PURGE.WEBHOOKS")


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "A", "a b", "a_b"])
def test_a_name_that_is_no_label_gets_no_role(name: str) -> None:
    with pytest.raises(Misconfigured):
        nats_roles.gateway(name, "broker")
    with pytest.raises(Misconfigured):
        nats_roles.gateway("owner", name)
