"""Whom a change matters to, and what the cache tells of changes."""

from __future__ import annotations

from typing import Any

import pytest

from aristobot.contracts.kubernetes import (
    ACTIVE_STRATEGY_LABEL,
    MANAGED_BY_LABEL,
    OPERATOR,
    WIND_DOWN_FINALIZER,
)
from aristobot_operator.cache import Cache, Change
from aristobot_operator.plans.concern import changes_directory, concerned
from aristobot_operator.work_queue import Key


def obj(kind: str, name: str, version: int = 1, **more: Any) -> Any:
    """`generation`, `labels` and the like go into the metadata."""
    fields = ("spec", "status", "data")
    metadata = {"generation": 1, **{k: v for k, v in more.items() if k not in fields}}
    return {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "one",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            **metadata,
        },
        "spec": {},
        **{k: v for k, v in more.items() if k in fields},
    }


def active(name: str, version: int = 1, **more: Any) -> Any:
    spec = {
        "strategyRef": {"name": "mine"},
        "brokerRef": {"name": "main"},
        "symbol": "BTCUSDT",
        **more.pop("spec", {}),
    }
    return obj("ActiveStrategy", name, version, spec=spec, **more)


def ready(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "message": f"it is {status}"}]}


class Followed:
    """A cache with two brokers, a strategy and those that run it, and what it told since."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.cache = Cache(self.changes.append)
        self.cache.put("Broker", obj("Broker", "main", status=ready("False")))
        self.cache.put("Broker", obj("Broker", "other"))
        self.cache.put("Strategy", obj("Strategy", "mine"))
        for name in ("a", "b"):
            self.cache.put("ActiveStrategy", active(name))
        self.cache.put("ActiveStrategy", active("else", spec={"brokerRef": {"name": "other"}}))
        self.changes.clear()

    def put(self, found: Any) -> tuple[list[str], bool]:
        """Who is concerned, and whether the directory is."""
        self.changes.clear()
        self.cache.put(found["kind"], found)
        return self.told()

    def told(self) -> tuple[list[str], bool]:
        keys = {key for each in self.changes for key in concerned(self.cache, each)}
        names = sorted(f"{key.kind}/{key.name}" for key in keys)
        return names, any(changes_directory(each) for each in self.changes)


EVERYBODY = ["ActiveStrategy/a", "ActiveStrategy/b", "Broker/main", "Broker/other"]
CREDENTIALS = {"apiKey": "a2V5"}
OURS = {MANAGED_BY_LABEL: OPERATOR, ACTIVE_STRATEGY_LABEL: "a"}


@pytest.mark.parametrize(
    ("found", "names", "is_told"),
    [
        (active("a", 2, generation=2), ["ActiveStrategy/a"], True),
        (active("a", 2, status=ready("True")), [], False),
        (active("a", 2, annotations={"x": "y"}), ["ActiveStrategy/a"], True),
        (active("a", 1, generation=2), [], False),  # seen already
        (
            active("a", 2, generation=2, spec={"onDelete": "closePositions"}),
            ["ActiveStrategy/a", "Broker/main"],
            True,
        ),
        (
            active("a", 2, finalizers=[WIND_DOWN_FINALIZER]),
            ["ActiveStrategy/a", "Broker/main"],
            True,
        ),
        (obj("Broker", "main", 2, generation=2, status=ready("False")), EVERYBODY, True),
        (
            obj("Broker", "main", 2, status=ready("True")),
            ["ActiveStrategy/a", "ActiveStrategy/b"],
            False,
        ),
        (obj("Broker", "main", 2, status={**ready("False"), "phase": "Starting"}), [], False),
        (
            obj("Strategy", "mine", 2, generation=2),
            ["ActiveStrategy/a", "ActiveStrategy/b", "ActiveStrategy/else", "Strategy/mine"],
            True,
        ),
        (obj("Strategy", "mine", 2, status=ready("True")), [], False),
        (obj("Secret", "keys", data=CREDENTIALS), ["Broker/main", "Broker/other"], False),
        (
            obj("Secret", "main-webhook", data={"token": "dA=="}),
            ["Broker/main", "Broker/other"],
            True,
        ),
        (obj("Secret", "runner-a", labels=OURS), ["ActiveStrategy/a"], False),
        (obj("Deployment", "runner-a", labels=OURS), ["ActiveStrategy/a"], False),
        (obj("Pod", "runner-a-1", labels=OURS), ["ActiveStrategy/a"], False),
        (obj("Pod", "somebody-s"), [], False),
    ],
)
def test_a_change_reaches_those_to_whom_it_matters(
    found: Any, names: list[str], is_told: bool
) -> None:
    assert Followed().put(found) == (names, is_told)


def test_code_in_a_config_map_reaches_those_that_run_it() -> None:
    followed = Followed()
    spec = {"codeConfigMapRef": {"name": "code", "key": "strategy.py"}}
    followed.put(obj("Strategy", "mine", 2, generation=2, spec=spec))
    everybody = ["ActiveStrategy/a", "ActiveStrategy/b", "ActiveStrategy/else", "Strategy/mine"]
    assert followed.put(obj("ConfigMap", "code", 3, data={"strategy.py": "x"})) == (everybody, True)
    assert followed.put(obj("ConfigMap", "code", 4, data={"strategy.py": "x"})) == ([], False)
    assert followed.put(obj("ConfigMap", "another", 5, data={"strategy.py": "x"})) == ([], True)


def test_what_is_gone_matters_to_those_that_referred_to_it() -> None:
    followed = Followed()
    followed.cache.remove("Broker", obj("Broker", "main", 9))
    assert followed.told() == (EVERYBODY, True)


def test_a_child_without_our_label_any_more_is_as_good_as_gone() -> None:
    followed = Followed()
    followed.put(obj("Deployment", "runner-a", labels=OURS))
    assert followed.put(obj("Deployment", "runner-a", 2, labels={})) == (
        ["ActiveStrategy/a"],
        False,
    )
    assert followed.cache.get("Deployment", "one", "runner-a") is None


def test_the_end_of_a_former_object_of_the_name_changes_nothing() -> None:
    followed = Followed()
    followed.put(obj("Broker", "main", 5, uid="the new one"))
    followed.changes.clear()
    followed.cache.remove("Broker", obj("Broker", "main", 4))
    assert followed.told() == ([], False)
    assert followed.cache.get("Broker", "one", "main") is not None


def test_what_follows_from_objects_is_made_again_when_one_of_them_is_another() -> None:
    cache = Followed().cache
    key = Key("Broker", "one", "main")
    one, other = {"same": 1}, {"same": 1}
    made = [
        cache.derived("what", key, inputs, object)
        for inputs in ((one, None), (one, None), (other, None), (other, one), (other, one))
    ]
    assert made[0] is made[1]
    assert made[1] is not made[2]
    assert made[2] is not made[3]
    assert made[3] is made[4]
    cache.remove("Broker", obj("Broker", "main", 9))
    assert cache.derived("what", key, (other, one), object) is not made[4]


def test_what_nobody_decides_by_is_not_kept() -> None:
    cache = Cache()
    template = {"spec": {"containers": [{"name": "large"}]}}
    managed = [{"manager": "somebody", "fieldsV1": {"f:spec": {}}}]
    spec = {"replicas": 1, "template": template}
    cache.put("Deployment", obj("Deployment", "d", labels=OURS, managedFields=managed, spec=spec))
    cache.put(
        "Pod", obj("Pod", "p", labels=OURS, spec=template["spec"], status={"phase": "Failed"})
    )
    deployment, pod = cache.get("Deployment", "one", "d"), cache.get("Pod", "one", "p")
    assert deployment is not None
    assert pod is not None
    assert deployment["spec"] == {"replicas": 1}
    assert pod["status"] == {"phase": "Failed"}
    assert "large" not in str((deployment, pod))
    assert "managedFields" not in deployment["metadata"]
