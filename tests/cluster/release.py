"""A release of both charts in namespaces of its own, used as its users would use it.

By helm, kubectl, HTTP through the Ingress, and the command line in the api's pod. The simulator and
the database are asked through port-forwards. Nothing of the product is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.kubectl import Done, Kubectl, Object, is_true, run_tool
from tests.cluster.waiting import eventually
from tests.e2e.independent import ccxt_at
from tests.fault.ledger import Account, Ledger

CHARTS = Path(__file__).parents[2] / "charts"
IMAGE = os.environ.get("ARISTOBOT_TEST_IMAGE", "docker.io/library/aristobot:test")
#: Where webhooks go in, when the Ingress's own status doesn't say.
INGRESS_VARIABLE = "ARISTOBOT_TEST_INGRESS"
CRDS_RELEASE = "aristobot-crds"
GROUP = "trading.aristobot.io"
RELEASE = "e2e"
NAMESPACE = "aristobot-e2e"
#: An owner whose gateways and runners live in another namespace than the platform.
OTHER_OWNER = "aristobot-e2e-eve"
HOST = "hooks.e2e.test"
#: How many times as fast as ours the market's time runs: a 1m candle every three seconds.
SPEED = 20

_SMALL = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "512Mi"}}
_VOLUME = {"size": "1Gi"}
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_READY_SECONDS = 240


def values() -> dict[str, Any]:
    """A first look's, small enough for two cores."""
    repository, _, tag = IMAGE.rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "owners": [NAMESPACE, OTHER_OWNER],
        "embedded": {
            "enabled": True,
            "nats": {"storage": _VOLUME, "resources": _SMALL},
            "postgres": {"storage": _VOLUME, "resources": _SMALL},
        },
        "simulator": {"speed": SPEED, "storage": _VOLUME, "resources": _SMALL},
        "ingress": {"host": HOST, "resources": _SMALL},
        **{part: {"resources": _SMALL} for part in ("operator", "engine", "api", "heartbeat")},
        "gateway": {"resources": _SMALL},
        "runner": {"resources": {"requests": _SMALL["requests"]}},
    }


def namespace_document(name: str) -> str:
    labels = {**_RESTRICTED, "kubernetes.io/metadata.name": name}
    metadata = {"name": name, "labels": labels}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


@dataclass(frozen=True, slots=True)
class Release:
    """`kubectl`: in the release's namespace."""

    kubectl: Kubectl

    @property
    def fullname(self) -> str:
        return f"{RELEASE}-aristobot"

    def _helm(self, *words: str, stdin: str | None = None, seconds: float = 60) -> Done:
        place = ("--kube-context", self.kubectl.context, "--namespace", self.kubectl.namespace)
        return run_tool(["helm", *place, *words], stdin=stdin, seconds=seconds)

    def install_definitions(self) -> None:
        # They are everybody's: another release's are taken over.
        self._helm(
            *("upgrade", "--install", CRDS_RELEASE, str(CHARTS / "aristobot-crds")),
            *("--take-ownership", "--wait"),
        )

    def install(self, chart: Path, its_values: Mapping[str, Any]) -> None:
        """Install, or upgrade to it; back when every pod is ready."""
        self._helm(
            *("upgrade", "--install", RELEASE, str(chart), "--values", "-"),
            *("--wait", "--timeout", f"{_READY_SECONDS}s"),
            stdin=yaml.safe_dump(dict(its_values)),
            seconds=_READY_SECONDS + 30,
        )

    def test(self) -> Done:
        return self._helm("test", RELEASE, "--timeout", "120s", seconds=150)

    def uninstall(self) -> Done:
        return self._helm(
            "uninstall", RELEASE, "--ignore-not-found", "--wait", "--timeout", "180s", seconds=200
        )

    def clear(self, namespace: str) -> None:
        """Delete every resource of the namespace; back when their pods are gone or going."""
        owner = self.owner(namespace)
        # In the order in which they hold each other.
        for kind in ("activestrategies", "brokers", "strategies"):
            owner.run("delete", f"{kind}.{GROUP}", "--all", "--timeout=120s", seconds=130)
        children = "app.kubernetes.io/component in (gateway,runner)"
        # The cluster's garbage collector does it, and may have other work.
        eventually(lambda: not owner.pods(children), seconds=180, what="their pods being gone")

    # --- as a user ---

    def owner(self, namespace: str) -> Kubectl:
        return self.kubectl.within(namespace)

    def cli(self, *words: str, check: bool = True) -> Done:
        """An `aristobot` command in the api's pod."""
        return self.kubectl.exec(f"deploy/{self.fullname}-api", "aristobot", *words, check=check)

    def cli_json(self, *words: str) -> Any:
        return json.loads(self.cli(*words, "--json").stdout)

    def from_here(self, *words: str, check: bool = True) -> Done:
        """An `aristobot --kube` command on this machine."""
        command = [".venv/bin/aristobot", "--context", self.kubectl.context, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def ready(
        self, kind: str, name: str, namespace: str = NAMESPACE, seconds: float = 90
    ) -> Object:
        """The resource once it is Ready as it is now."""

        def look() -> Object | None:
            found = self.owner(namespace).get(kind, name)
            return found if is_true(found) else None

        return eventually(look, seconds=seconds, what=f"{kind} {name} being Ready")

    # --- webhooks ---

    def ingress_address(self) -> str:
        """The ingress controller's, as the Ingress or the environment tells it."""
        if told := os.environ.get(INGRESS_VARIABLE):
            return told

        def look() -> str | None:
            found = self.kubectl.get("ingress", f"{self.fullname}-ingress") or {}
            balancers = found.get("status", {}).get("loadBalancer", {}).get("ingress", ())
            return next((each["ip"] for each in balancers if "ip" in each), None)

        return f"http://{eventually(look, seconds=30, what='an address of the Ingress')}"

    def webhook_url(self, broker: str, namespace: str = NAMESPACE) -> str:
        token = self.owner(namespace).secret(f"{broker}-webhook")["token"]
        return f"{self.ingress_address()}/webhook/{token}"

    def post(self, url: str, body: bytes, **headers: str) -> httpx.Response:
        """As TradingView does, cut off after 3 s."""
        sent = {"host": HOST, "content-type": "text/plain", **headers}
        return httpx.post(url, content=body, headers=sent, timeout=3.0, trust_env=False)

    def own_address(self) -> str:
        """Ours on the way to the ingress controller; it sees another where a bridge is between."""
        where = httpx.URL(self.ingress_address())
        with socket.create_connection((where.host, where.port or 80), timeout=5) as connection:
            address: str = connection.getsockname()[0]
            return address

    def accepted(self, url: str, body: bytes, seconds: float = 30, **headers: str) -> Object:
        """The answer to a webhook once it is 200; sent again after anything else."""

        def look() -> Object | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.post(url, body, **headers)
                return answer.json() if answer.status_code == 200 else None
            return None

        return eventually(look, seconds=seconds, what="a webhook being answered 200")

    # --- what came of it ---

    @contextlib.contextmanager
    def simulator(self) -> Iterator[str]:
        """The simulator's URL."""
        with self.kubectl.forwarded(f"svc/{self.fullname}-simulator", 8890) as port:
            yield f"http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def account(self, broker: str, namespace: str = NAMESPACE) -> Iterator[Account]:
        """The broker's account at the exchange."""
        keys = self.owner(namespace).secret(f"{broker}-simulator")
        with self.simulator() as url:
            yield Account(url, keys["apiKey"])

    @contextlib.contextmanager
    def ccxt(self, broker: str, namespace: str = NAMESPACE) -> Iterator[Any]:
        """A client that others wrote, with the broker's credentials."""
        keys = self.owner(namespace).secret(f"{broker}-simulator")
        with self.simulator() as url:
            yield ccxt_at(url, keys)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The database's URL."""
        url = httpx.URL(self.kubectl.secret(f"{self.fullname}-postgres")["database-url"])
        with self.kubectl.forwarded(f"svc/{self.fullname}-postgres", 5432) as port:
            yield str(url.copy_with(host="127.0.0.1", port=port))

    def rows(self, query: str, *arguments: Any) -> list[Object]:
        """What the platform wrote down."""
        with self.database() as url:
            return Ledger(url).rows(query, *arguments)

    def sources(self, broker: str, count: int) -> list[str]:
        """From where a broker's webhooks came, as ingress saw it; `count` are waited for."""

        def look() -> list[str] | None:
            rows = self.rows("SELECT source FROM webhooks WHERE broker = $1", broker)
            return sorted({row["source"] for row in rows}) if len(rows) >= count else None

        return eventually(look, what=f"{count} webhooks of {broker} being written down")

    def order_of(self, webhook_id: str, seconds: float = 60) -> Object:
        """The filled order that a webhook led to."""

        def look() -> Object | None:
            found = self.rows(
                "SELECT o.* FROM webhooks w JOIN orders o USING (owner, broker, command_id) "
                "WHERE w.id = $1 AND o.status = 'filled'",
                webhook_id,
            )
            return found[0] if found else None

        return eventually(look, seconds=seconds, what=f"the order of webhook {webhook_id}")


def timed() -> _Stopwatch:
    return _Stopwatch(time.monotonic())


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
