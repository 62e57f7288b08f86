"""Bad input of every kind: a clear outcome each, no traceback, no trade, no token anywhere.

The cases stand in `bad_requests`. All are sent first, one after the other; then each is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.bad_requests import CASES, Answer, Case, Door, alert
from tests.e2e.brokers import broker, wait_until_ready
from tests.harness.platform import Platform, eventually

BROKERS = ("bad", "off", "strategy")
RECORDED = [case for case in CASES if case.outcome is not None]


@dataclass(frozen=True)
class Repeats:
    """The one alert that trades, its exact copy, and the same signal in another body."""

    first: Answer
    copy: Answer
    same_signal: Answer


@dataclass(frozen=True)
class Sent:
    platform: Platform
    door: Door
    answers: Mapping[str, Answer]
    repeats: Repeats
    rows: Mapping[str, dict[str, Any]]


def _door(platform: Platform) -> Door:
    tokens = {name: platform.webhook_url(name).rpartition("/")[2] for name in BROKERS}
    owners = platform.run("webhook", "url").stdout.strip()
    return Door(platform.port_base, tokens | {"owner": owners.rpartition("/")[2]})


def _repeat(door: Door) -> Repeats:
    now = datetime.now(UTC).isoformat()
    body = alert("repeated", BarTime=now)
    other = alert("repeated", BarTime=now, comment="sent once more by another alert")
    return Repeats(door.alert(body), door.alert(body), door.alert(other))


@pytest.fixture(scope="module")
def sent(platform: Platform) -> Sent:
    platform.apply(
        "---\n".join(
            (
                broker("bad", number=7),
                broker("off", mode="off"),
                broker("strategy", mode="strategy"),
            )
        )
    )
    wait_until_ready(platform, *BROKERS)
    door = _door(platform)
    answers = {case.name: case.send(door) for case in CASES}
    repeats = _repeat(door)
    wanted = {_id(answers[case.name]) for case in RECORDED if answers[case.name].status == 200}
    wanted |= {repeats.first.json["id"], repeats.same_signal.json["id"]}

    def recorded() -> dict[str, dict[str, Any]] | None:
        rows = {row["id"]: row for row in platform.webhooks()}
        return rows if wanted <= rows.keys() else None

    rows = eventually(recorded, seconds=60, what="every accepted webhook being recorded")
    return Sent(platform, door, answers, repeats, rows)


def _id(answer: Answer) -> str:
    """The webhook's id in the answer, also when it was read raw from the socket."""
    return answer.text.partition('"id":"')[2].partition('"')[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_clear(sent: Sent, case: Case) -> None:
    answer = sent.answers[case.name]
    assert answer.status == case.status, answer.text[:300]
    if case.status == 200:
        assert _id(answer)
    elif answer.headers and answer.text:
        assert answer.json["error"], "a sentence says why"


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case.name)
def test_it_is_recorded_with_the_reason(sent: Sent, case: Case) -> None:
    row = sent.rows[_id(sent.answers[case.name])]
    assert (row["outcome"], row["code"]) == (case.outcome, case.code), row["reason"]
    assert row["broker"] == case.broker
    assert row["command_id"] is None
    assert bool(row["reason"]) == (case.outcome != "processed")
    if row["reason"]:
        assert 10 < len(row["reason"]) < 400


def test_nothing_else_is_recorded(sent: Sent) -> None:
    wanted = [_id(sent.answers[case.name]) for case in RECORDED]
    assert len(set(wanted)) == len(wanted)
    wanted += [sent.repeats.first.json["id"], sent.repeats.same_signal.json["id"]]
    # Not an alert: how the fixture finds out that a token is taken.
    mine = sent.platform.rows(
        "SELECT id FROM webhooks WHERE broker = ANY($1) AND body <> 'not an alert'",
        [*BROKERS, "_unrouted"],
    )
    assert sorted(row["id"] for row in mine) == sorted(wanted)


def test_an_exact_copy_is_the_same_webhook(sent: Sent) -> None:
    first, copy = sent.repeats.first, sent.repeats.copy
    assert (first.status, first.json["duplicate"]) == (200, False)
    assert (copy.status, copy.json["duplicate"]) == (200, True)
    assert copy.json["id"] == first.json["id"]
    assert sent.rows[first.json["id"]]["outcome"] == "ordered"
    assert sent.rows[first.json["id"]]["trace_id"] == first.json["trace_id"]


def test_the_same_signal_acts_once(sent: Sent) -> None:
    again = sent.repeats.same_signal
    assert (again.status, again.json["duplicate"]) == (200, False)
    assert again.json["id"] != sent.repeats.first.json["id"]
    row = sent.rows[again.json["id"]]
    assert (row["outcome"], row["code"]) == ("ignored", "repeated_signal")
    assert row["command_id"] is None


def test_nothing_of_it_traded(sent: Sent) -> None:
    platform = sent.platform

    def filled() -> list[dict[str, Any]] | None:
        rows = [row for row in platform.orders() if row["broker"] in BROKERS]
        return rows if all(row["status"] == "filled" for row in rows) else None

    (order,) = eventually(filled, what="the one order being filled")
    assert order["source_id"] == sent.repeats.first.json["id"]
    for name in BROKERS:
        key = platform.secret(f"{name}-simulator")["apiKey"]
        there = [found["client_id"] for found in platform.simulator_orders(key)]
        assert there == ([order["client_order_id"]] if name == "bad" else [])


def test_a_forged_trace_is_not_continued(sent: Sent) -> None:
    forged = "4bf92f3577b34da6" * 2
    answer = sent.answers["a forged trace"]
    assert answer.json["trace_id"] != forged
    spans = eventually(
        lambda: sent.platform.spans(answer.json["trace_id"]), what="its own trace being stored"
    )
    assert forged in str([span["links"] for span in spans]), "linked, so that it can be followed"


def test_no_log_holds_a_traceback(sent: Sent) -> None:
    for file in sorted((sent.platform.data / "logs").iterdir()):
        for line in file.read_text(errors="replace").splitlines():
            assert "Traceback" not in line, f"{file.name}: {line}"
            assert '"exception"' not in line, f"{file.name}: {line}"
            assert '"level":"ERROR"' not in line, f"{file.name}: {line}"


def test_no_token_leaves_the_request(sent: Sent) -> None:
    platform = sent.platform
    logs = {
        file.name: file.read_text(errors="replace") for file in (platform.data / "logs").iterdir()
    }
    traces = {answer.json["trace_id"] for answer in sent.answers.values() if _is_json(answer)}
    eventually(
        lambda: all(platform.spans(trace_id) for trace_id in [*traces][-5:]),
        what="the last spans being stored",
    )
    stored = {
        table: str(platform.rows(f"SELECT t::text AS row FROM {table} t"))
        for table in ("spans", "webhooks", "orders", "journal", "outbox", "resources")
    }
    metrics = sent.door.send("/metrics", b"", method="GET").text
    answers = {name: answer.text + str(answer.headers) for name, answer in sent.answers.items()}
    assert "aristobot_webhook_answers_total" in metrics
    places = {**logs, **stored, **answers, "metrics": metrics}
    for whose, token in sent.door.tokens.items():
        for place, text in places.items():
            assert token not in text, f"the token of {whose} stands in {place}"
            assert token.swapcase() not in text, f"a wrong token stands in {place}"


def _is_json(answer: Answer) -> bool:
    return answer.status == 200 and answer.text.startswith("{")


def test_the_platform_is_as_well_as_before(sent: Sent) -> None:
    states = {row["part"]: row for row in sent.platform.json("status", "--json")}
    assert {row["state"] for row in states.values()} == {"ready"}
    assert {row["restarts"] for row in states.values()} == {0}
