"""What a strategy's pod can't do, tried by code that tries: in its container, and as a strategy.

Each attempt that is refused works from where it may (`control` in each test), so that a typing
error can't pass for a wall. Only for the internet there is no such proof where the test cluster has
none itself.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aristobot.contracts.streams import (
    STRATEGIES_BUCKET,
    STRATEGY_STATUS_BUCKET,
    TOKENS_BUCKET,
)
from tests.cluster import documents
from tests.cluster.kubectl import Kubectl, condition
from tests.cluster.release import IMAGE, NAMESPACE, OTHER_OWNER, Release, namespace_document
from tests.cluster.waiting import eventually

OWNER = OTHER_OWNER
BROKER, NAME = "walls", "walled"
RUNNER = f"deploy/runner-{NAME}"
_INTRUDER = Path(__file__).with_name("intruder.py").read_text()
_OUTSIDE = "aristobot-e2e-outside"
_ITS_RECORD = f"$JS.API.DIRECT.GET.KV_{STRATEGIES_BUCKET}.$KV.{STRATEGIES_BUCKET}.{OWNER}.{NAME}"

Places = dict[str, tuple[str, int]]


def _try(kubectl: Kubectl, target: str, **plan: Any) -> Any:
    done = kubectl.exec(target, "python", "-", json.dumps(plan), stdin=_INTRUDER)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def runner(release: Release) -> Kubectl:
    """A strategy's pod at work."""
    owner = release.owner(OWNER)
    never = documents.strategy("never", "return False")
    owner.apply(documents.broker(BROKER, "strategy") + never)
    owner.apply(documents.active(NAME, "never", BROKER))
    release.ready("activestrategy", NAME, OWNER)
    return owner


@pytest.fixture(scope="module")
def outside(release: Release) -> Iterator[Kubectl]:
    """A pod that no policy of ours is about."""
    kubectl = release.owner(_OUTSIDE)
    container = {
        "name": "outside",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import time; time.sleep(3600)"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "outside"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": security,
            "containers": [container],
        },
    }
    kubectl.apply(namespace_document(_OUTSIDE))

    def has_account() -> bool:
        return kubectl.get("serviceaccount", "default") is not None

    try:
        eventually(has_account, seconds=20, what="the namespace's service account")
        kubectl.apply(yaml.safe_dump(pod))
        kubectl.run("wait", "pod/outside", "--for=condition=Ready", "--timeout=60s", seconds=70)
        yield kubectl
    finally:
        kubectl.run("delete", "namespace", _OUTSIDE, "--wait=false")


def _cluster_s(release: Release) -> Places:
    """The cluster's own: API server, kubelet, ingress controller."""
    default = release.owner("default")
    service = default.get("service", "kubernetes")
    slices = default.get("endpointslice", "kubernetes")
    (node, *_) = release.kubectl.list("nodes")
    assert service is not None
    assert slices is not None
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    endpoint = slices["endpoints"][0]["addresses"][0]
    return {
        "API server": (service["spec"]["clusterIP"], 443),
        "API server's own address": (endpoint, slices["ports"][0]["port"]),
        "kubelet": (address, 10250),
    }


def _platform_s(release: Release) -> dict[str, tuple[Kubectl, str, str, int]]:
    """What the platform's parts listen on: where it is, its pod, that pod's address, the port."""
    ports = {
        "postgres": 5432,
        "simulator": 8890,
        "ingress": 8888,
        "api": 8889,
        "engine": 9090,
        "heartbeat": 9090,
        "operator": 9090,
        "gateway": 9090,
        "nats": 8222,
    }
    found = {}
    for component, port in ports.items():
        owner, selector = release.kubectl, f"app.kubernetes.io/component={component}"
        if component == "gateway":
            owner, selector = release.owner(OWNER), f"trading.aristobot.io/broker={BROKER}"
        (pod, *_) = owner.pods(selector)
        found[component] = (owner, pod["metadata"]["name"], pod["status"]["podIP"], port)
    return found


def test_no_api_server_no_node_and_no_internet(
    release: Release, runner: Kubectl, outside: Kubectl
) -> None:
    places = _cluster_s(release)
    control = _try(outside, "pod/outside", connect=places)["connections"]
    assert control == dict.fromkeys(places, "connected")
    places |= {"internet": ("1.1.1.1", 443), "internet's DNS": ("8.8.8.8", 53)}
    found = _try(runner, RUNNER, connect=places)["connections"]
    assert "connected" not in found.values(), found


def test_no_other_part_s_port(release: Release, runner: Kubectl, outside: Kubectl) -> None:
    """Neither database, gateway nor simulator; and a stranger's pod reaches as little."""
    parts = _platform_s(release)
    for kubectl, pod, address, port in parts.values():
        # control: it listens, there where the others try.
        found = _try(kubectl, f"pod/{pod}", connect={"itself": (address, port)})["connections"]
        assert found == {"itself": "connected"}, pod
    places = {name: (address, port) for name, (_, _, address, port) in parts.items()}
    allowed = {name: places[name] for name in ("postgres", "simulator")}
    control = _try(runner, f"deploy/gateway-{BROKER}", connect=allowed)["connections"]
    assert control == dict.fromkeys(allowed, "connected")

    found = _try(runner, RUNNER, connect=places)["connections"]
    assert "connected" not in found.values(), found
    nats = (parts["nats"][2], 4222)
    assert _try(runner, RUNNER, connect={"nats": nats})["connections"] == {"nats": "connected"}
    strangers = _try(outside, "pod/outside", connect={**places, "bus": nats})["connections"]
    assert "connected" not in strangers.values(), strangers


def test_no_token_of_the_api_server(release: Release, runner: Kubectl) -> None:
    assert _try(runner, RUNNER)["token"] is False
    assert _try(runner, f"deploy/gateway-{BROKER}")["token"] is False
    control = _try(release.kubectl, f"deploy/{release.fullname}-operator")
    assert control["token"] is True


def test_no_write_outside_of_its_scratch_folder(runner: Kubectl) -> None:
    folders = _try(runner, RUNNER, walk=True)["writable"]
    assert "/tmp" in folders
    assert [each for each in folders if not f"{each}/".startswith("/tmp/")] == []


def test_nothing_of_anybody_else_s_on_the_bus(release: Release, runner: Kubectl) -> None:
    publish = [
        f"strategies.decided.{NAMESPACE}.any.any",
        f"strategies.decided.{OWNER}.{BROKER}.other",
        f"orders.commands.{OWNER}.{BROKER}",
        f"orders.events.{OWNER}.{BROKER}",
        f"webhooks.received.{NAMESPACE}.any",
        "candles.closed.binance-simulator.BTCUSDT.1m",
        f"gateway.query.{NAMESPACE}.any",
        f"$KV.{STRATEGIES_BUCKET}.{OWNER}.{NAME}",
        f"$KV.{STRATEGY_STATUS_BUCKET}.{NAMESPACE}.other",
        f"$JS.API.DIRECT.GET.KV_{TOKENS_BUCKET}",
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.DELETE.WEBHOOKS",
        "$JS.API.STREAM.PURGE.ORDERS",
        "$JS.API.STREAM.INFO.WEBHOOKS",
        "$JS.API.CONSUMER.CREATE.WEBHOOKS",
        "$JS.API.INFO",
    ]
    subscribe = [">", "webhooks.received.>", f"orders.events.{NAMESPACE}.>", "candles.closed.>"]
    tried = _try(
        runner,
        RUNNER,
        inbox=f"_INBOX_runner_{OWNER}_{NAME}",
        nats={"publish": publish, "subscribe": subscribe, "request": [_ITS_RECORD]},
    )["nats"]
    # control: its own record is answered, and the engine's user may ask what this one may not.
    assert tried.pop(f"request {_ITS_RECORD}") == "answered"
    assert set(tried.values()) == {"refused"}, tried
    asked = "$JS.API.STREAM.INFO.WEBHOOKS"
    control = _try(
        release.kubectl,
        f"deploy/{release.fullname}-engine",
        inbox="_INBOX_engine",
        nats={"publish": [], "subscribe": [], "request": [asked]},
    )["nats"]
    assert control == {f"request {asked}": "answered"}


_HOSTILE = """
os, socket = __import__('os'), __import__('socket')
found = {}
def attempt(name, work):
    try:
        work()
        found[name] = 'DONE'
    except OSError as error:
        found[name] = type(error).__name__
attempt('bus', lambda: socket.create_connection(('NATS', 4222), 2))
attempt('credentials', lambda: open('/etc/aristobot/nats/nats.creds').read())
attempt('scratch', lambda: open('/tmp/strategy', 'w'))
attempt('parent', lambda: open(f'/proc/{os.getppid()}/environ').read())
attempt('process', lambda: os.fork())
raise RuntimeError(f'tried: {found}')
"""


def test_a_strategy_has_not_even_what_its_pod_has(release: Release, runner: Kubectl) -> None:
    """The pod reaches the bus and reads its credentials; the sealed process within it does not."""
    (_, _, address, _) = _platform_s(release)["nats"]
    assert _try(runner, RUNNER, connect={"bus": (address, 4222)})["connections"] == {
        "bus": "connected"
    }
    code = textwrap.indent(_HOSTILE.replace("NATS", address).strip(), " " * 12).strip()
    runner.apply(documents.strategy("hostile", code))
    runner.apply(documents.active("hostile", "hostile", BROKER))

    def said() -> str | None:
        ready = condition(runner.get("activestrategy", "hostile"), "Ready")
        text = str(ready.get("message", ""))
        return text if "tried:" in text else None

    try:
        text = eventually(said, seconds=60, what="the strategy's attempts")
    finally:
        runner.run("delete", "activestrategy", "hostile")
    assert "DONE" not in text
    assert text.count("PermissionError") == 5, text
