"""What the operator decides, without any API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.contracts.kubernetes import DIGEST_ANNOTATION, MANAGED_BY_LABEL, OPERATOR
from aristobot.contracts.resources import ActiveStrategy
from aristobot_operator.acting.children import Applied, Step, next_step
from aristobot_operator.cache import Cache, Difference, digested
from aristobot_operator.canary import silent
from aristobot_operator.conditions import State, condition_of, good, make_status, status_patch
from aristobot_operator.plans.active_strategy import WARM_UP, pausing
from aristobot_operator.plans.deployment import deployed
from aristobot_operator.reasons import Condition, Reason
from aristobot_operator.work_queue import Key

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def active(**spec: Any) -> ActiveStrategy:
    return ActiveStrategy.model_validate(
        {
            "metadata": {"name": "mine"},
            "spec": {
                "strategyRef": {"name": "s"},
                "brokerRef": {"name": "b"},
                "symbol": "BTCUSDT",
                **spec,
            },
        }
    )


def child(generation: int = 1, digest: str = "d", owner: str = "u", **metadata: Any) -> Any:
    return {
        "metadata": {
            "generation": generation,
            "labels": {MANAGED_BY_LABEL: OPERATOR},
            "annotations": {DIGEST_ANNOTATION: digest},
            "ownerReferences": [{"uid": owner}],
            **metadata,
        }
    }


@pytest.mark.parametrize(
    ("found", "applied", "step"),
    [
        (None, None, Step.APPLY),
        (child(), None, Step.APPLY),  # a new operator looks once
        (child(), Applied("d", 1), Step.NOTHING),
        (child(generation=2), Applied("d", 1), Step.REPAIR),
        (child(digest="old"), Applied("old", 1), Step.APPLY),
        (child(owner="former"), None, Step.LEAVE),
        (child(owner="former", labels={}), None, Step.LEAVE),
        (child(owner="former", labels={}, ownerReferences=[]), None, Step.LEAVE),
        (child(ownerReferences=[]), None, Step.APPLY),  # orphaned: taken back
        (child(labels={}), None, Step.APPLY),  # ours, and somebody took the label off
        (child(deletionTimestamp="2026-11-21T12:00:00Z"), Applied("d", 1), Step.LEAVE),
    ],
)
def test_a_child_is_applied_repaired_or_left_alone(
    found: Any, applied: Applied | None, step: Step
) -> None:
    assert next_step(child(), found, applied) is step


@given(
    st.none() | st.timedeltas(-timedelta(days=2), timedelta(days=2)),
    st.none() | st.timedeltas(timedelta(minutes=5), timedelta(days=2)),
)
def test_within_its_window_a_strategy_runs_and_the_clock_is_asked_for(
    start: timedelta | None, length: timedelta | None
) -> None:
    begins = NOW + start if start is not None else None
    ends = (begins or NOW) + length if length is not None else None
    state, again_in = pausing(active(start=begins, end=ends), NOW)
    is_before = begins is not None and begins - WARM_UP > NOW
    is_after = ends is not None and ends <= NOW
    assert state.is_true == (is_before or is_after)
    if again_in is not None:
        later, _ = pausing(active(start=begins, end=ends), NOW + again_in)
        assert later.reason != state.reason  # at that time it is something else


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"active": False, "paused": True}, Reason.STOPPED),
        ({"paused": True, "end": "2026-01-01T00:00:00Z"}, Reason.SUSPENDED),
    ],
)
def test_what_a_person_wanted_is_told_before_what_the_clock_says(
    spec: dict[str, Any], reason: Reason
) -> None:
    state, again_in = pausing(active(**spec), NOW)
    assert (state.reason, again_in) == (reason, None)


def test_a_condition_keeps_its_time_while_it_stays_as_it_is() -> None:
    def status(state: State, before: dict[str, Any], minutes: int) -> dict[str, Any]:
        return make_status(
            [state],
            generation=3,
            phase="Ready",
            before=before,
            now=NOW + timedelta(minutes=minutes),
        )

    first = status(good(Condition.READY, "One", "a"), {}, 0)
    second = status(good(Condition.READY, "Two", "b"), first, 5)
    third = status(State(Condition.READY, "False", "Three", "c"), second, 9)
    times = [condition_of(each, Condition.READY) for each in (first, second, third)]
    assert [each["lastTransitionTime"] for each in times if each] == [
        "2026-11-21T12:00:00Z",
        "2026-11-21T12:00:00Z",
        "2026-11-21T12:09:00Z",
    ]
    assert status_patch(first, first) is None
    assert status_patch({**first, "position": "1"}, first) == {**first, "position": None}


def deployment(wanted: int = 1, **status: Any) -> Any:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **status},
    }


def pod(**container: Any) -> Any:
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [container]}}


CRASHING = pod(
    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    lastState={"terminated": {"message": "log line\naristobot gateway: the API key is refused"}},
)


UNMADE = deployment(
    conditions=[
        {"type": "Available", "status": "False", "message": "no minimum availability"},
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "gateway-main-1" is forbidden: exceeded quota: small',
        },
    ]
)


@pytest.mark.parametrize(
    ("found", "pods", "replicas", "status", "reason", "text"),
    [
        (None, [], 1, "False", Reason.DEPLOYING, "being made"),
        (deployment(), [], 1, "False", Reason.DEPLOYING, "starting"),
        (deployment(updatedReplicas=1, availableReplicas=1), [], 1, "True", Reason.DEPLOYED, "r"),
        (deployment(updatedReplicas=0, availableReplicas=1), [], 1, "False", Reason.DEPLOYING, ""),
        (deployment(), [CRASHING], 1, "False", Reason.POD_FAILING, "the API key is refused"),
        (UNMADE, [], 1, "False", Reason.DENIED, "exceeded quota"),
        (UNMADE, [CRASHING], 1, "False", Reason.POD_FAILING, "the API key is refused"),
        (deployment(0), [], 0, "True", Reason.SCALED_TO_ZERO, ""),
        (None, [], 0, "True", Reason.SCALED_TO_ZERO, ""),
        (deployment(0, replicas=1), [], 0, "False", Reason.DEPLOYING, "ending"),
        (deployment(0), [CRASHING], 0, "False", Reason.DEPLOYING, "ending"),
        (deployment(1), [], 0, "False", Reason.DEPLOYING, "being changed"),
        (deployment(1, observedGeneration=1), [], 1, "False", Reason.DEPLOYING, "being changed"),
    ],
)
def test_a_deployment_is_told_as_it_is(
    found: Any, pods: list[Any], replicas: int, status: str, reason: Reason, text: str
) -> None:
    state = deployed(found, pods, replicas=replicas)
    assert (state.status, state.reason) == (status, reason)
    assert text in state.message


def obj(name: str, version: str, **more: Any) -> Any:
    metadata = {"name": name, "namespace": "one", "uid": "u", "resourceVersion": version}
    return {"kind": "Broker", "metadata": metadata, "spec": {}, **more}


def test_the_cache_keeps_the_newer_of_what_it_is_shown() -> None:
    cache = Cache()
    cache.put("Broker", obj("a", "12"))
    cache.put("Broker", obj("a", "9"))  # shown late
    found = cache.get("Broker", "one", "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "12"


def test_a_secret_s_values_are_not_kept() -> None:
    kept = digested({"metadata": {}, "data": {"token": "c2VjcmV0"}, "stringData": {"x": "y"}})
    assert "secret" not in str(kept)
    assert "c2VjcmV0" not in str(kept)
    assert set(kept["digests"]) == {"token"}


@pytest.mark.parametrize(
    ("first", "second", "is_silent"),
    [
        (("5", "7"), ("5", "7"), True),
        (("5", "7"), ("5", "9"), True),
        (("5", "7"), ("7", "9"), False),  # it moves, only slowly
        ((None, "7"), (None, "7"), True),
        ((None, "7"), (None, None), False),
        (("5", None), ("5", None), True),
        (("5", "7"), ("5", None), False),
        (("5", "7"), None, False),
    ],
)
def test_a_watch_is_silent_when_it_shows_nothing_of_what_is_there(
    first: tuple[str | None, str | None],
    second: tuple[str | None, str | None] | None,
    is_silent: bool,
) -> None:
    key = Key("Broker", "one", "a")
    later = [Difference(key, *second)] if second else []
    assert bool(silent([Difference(key, *first)], later)) is is_silent
