"""Brokers and Secrets as YAML: applied, shown, changed and deleted, and what then runs or stops."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.e2e.bad_requests import alert
from tests.e2e.brokers import broker, condition, post, wait_until_ready
from tests.harness.platform import Platform, eventually

#: Values that must be found nowhere but in the encrypted store and the gateway's environment.
API_KEY, API_SECRET = (f"e2e-{secrets.token_hex(24)}" for _ in range(2))


def _secret(name: str, **values: str) -> str:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return yaml.safe_dump(document | {"stringData": values})


def _encoded(name: str, **values: str) -> dict[str, Any]:
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return {**document, "data": values}


def _apply(platform: Platform, path: Path, text: str) -> list[str]:
    path.write_text(text)
    return platform.run("apply", "-f", str(path)).stdout.splitlines()


def _refused(platform: Platform, path: Path) -> str:
    done = platform.run("apply", "-f", str(path), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def _names(platform: Platform, kind: str = "Broker") -> set[str]:
    table = "resources" if kind == "Broker" else "secrets"
    return {row["name"] for row in platform.rows(f"SELECT DISTINCT name FROM {table}")}


def test_apply_says_what_it_did(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    off = broker("plain", mode="off")
    assert _apply(platform, file, off) == ["broker/plain created"]
    assert _apply(platform, file, off) == ["broker/plain unchanged"]
    limited = broker("plain", mode="off", risk={"maxOrderNotional": 250.5})
    assert _apply(platform, file, limited) == ["broker/plain configured"]
    assert _apply(platform, file, limited) == ["broker/plain unchanged"]
    secret = _secret("keys", apiKey=API_KEY, apiSecret=API_SECRET)
    assert _apply(platform, file, secret) == ["secret/keys created"]
    assert _apply(platform, file, secret) == ["secret/keys unchanged"]
    values = {"apiKey": API_KEY, "apiSecret": "another"}
    encoded = yaml.safe_dump(
        _encoded("keys", **{k: base64.b64encode(v.encode()).decode() for k, v in values.items()})
    )
    assert _apply(platform, file, encoded) == ["secret/keys configured"]
    assert platform.run("delete", "broker", "plain").stdout == "broker/plain deleted\n"
    assert platform.run("delete", "secret", "keys").stdout == "secret/keys deleted\n"
    again = platform.run("delete", "broker", "plain", check=False)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "aristobot: demo has no broker plain\n"


def test_a_folder_is_applied_as_a_whole(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "1-secret.yaml").write_text(_secret("folder-keys", apiKey="a", apiSecret="b"))
    (tmp_path / "2-broker.yml").write_text(broker("folder", mode="off"))
    (tmp_path / "README.md").write_text("not a resource")
    done = platform.run("apply", "-f", str(tmp_path))
    assert done.stdout.splitlines() == ["secret/folder-keys created", "broker/folder created"]
    platform.run("delete", "broker", "folder")
    platform.run("delete", "secret", "folder-keys")


def _document(**spec: Any) -> str:
    return broker("wrong", **spec)


#: (what the file holds, what is said of it)
WRONG = (
    (_document(exchange="kraken"), "spec.exchange"),
    (_document(environment="paper"), "spec.environment"),
    (_document(mode="both"), "spec.tradingMode"),
    (_document(risk={"maxOrderNotional": -1}), "spec.risk.maxOrderNotional"),
    (_document(risk={"maxOrderNotionl": 1}), "spec.risk.maxOrderNotionl: unknown field"),
    (_document(webhook={"maxSignalAgeSeconds": "soon"}), "spec.webhook.maxSignalAgeSeconds"),
    (_document(simulator={"balances": {"usdt": 5}}), "spec.simulator.balances.usdt"),
    (_document(environment="live"), "spec: credentialsSecretRef is required"),
    (broker("Not_A_Label"), "metadata.name"),
    (_document().replace("v1alpha1", "v9"), "v9"),
    (_document().replace("kind: Broker", "kind: Brocker"), "Brocker"),
    ("just a text\n", "not a resource"),
    ("[1, null, {}]\n", "not a resource"),
    (yaml.safe_dump(_encoded("x", apiKey="not base64!")), "data.apiKey: is not base64"),
    (yaml.safe_dump(_encoded("x", apiKey="b\u00e4se64")), "data.apiKey: is not base64"),
    (_secret("x", apiKey=API_SECRET).replace("stringData", "stringdata"), "stringdata: unknown"),
)


@pytest.fixture(scope="module")
def refusal(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a folder with one good file and all the wrong ones."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "00-good.yaml").write_text(broker("innocent", mode="off"))
    for number, (text, _) in enumerate(WRONG):
        (folder / f"wrong-{number}.yaml").write_text(text)
    before = _names(platform), _names(platform, "Secret")
    said = _refused(platform, folder)
    assert (_names(platform), _names(platform, "Secret")) == before
    return said


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: WRONG[number][1])
def test_an_invalid_file_names_the_field_and_nothing_is_applied(refusal: str, number: int) -> None:
    first, *lines = refusal.splitlines()
    assert first == "aristobot: nothing was applied"
    found = [line for line in lines if f"wrong-{number}.yaml" in line]
    assert found
    assert any(WRONG[number][1] in line for line in found), found
    assert API_SECRET not in refusal
    assert "00-good.yaml" not in refusal


def test_what_is_no_yaml_is_refused(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("a: [1, 2\n")
    assert f"{file} is not YAML" in _refused(platform, file)
    file.write_text("# nothing\n")
    assert f"{file} holds no resource" in _refused(platform, file)


def test_a_number_that_is_taken_is_refused(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(broker("second-one", mode="off", number=1))
    assert "spec.number: 1 is already the number of broker demo" in _refused(platform, file)
    assert "second-one" not in _names(platform)


def test_a_file_that_is_not_there_is_named(platform: Platform, tmp_path: Path) -> None:
    assert str(tmp_path / "gone.yaml") in _refused(platform, tmp_path / "gone.yaml")
    assert "holds no .yaml" in _refused(platform, tmp_path)


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("names", [(), ("demo",)], ids=["all", "one"])
def test_what_get_prints_can_be_applied(
    platform: Platform, tmp_path: Path, form: str, names: tuple[str, ...]
) -> None:
    file = tmp_path / f"printed.{form}"
    file.write_text(platform.run("get", "brokers", *names, "-o", form).stdout)
    done = platform.run("apply", "-f", str(file)).stdout.splitlines()
    assert "broker/demo unchanged" in done
    assert all(line.endswith(" unchanged") for line in done)


def test_the_url_is_printed_for_tradingview(platform: Platform) -> None:
    assert platform.run("webhook", "url", "demo").stdout == f"{platform.webhook_url()}\n"
    owners = platform.run("webhook", "url").stdout.strip()
    assert owners.startswith(f"{platform.base_url}/webhook/")
    assert owners != platform.webhook_url()
    nobody = platform.run("webhook", "url", "nobody", check=False)
    assert (nobody.returncode, nobody.stdout) == (1, "")


def test_get_tells_what_there_is(platform: Platform) -> None:
    document = platform.json("get", "broker", "demo", "-o", "json")
    assert document["apiVersion"] == "trading.aristobot.io/v1alpha1"
    assert (document["kind"], document["metadata"]["name"]) == ("Broker", "demo")
    assert document["spec"]["tradingMode"] == "webhook"
    assert document["status"]["observedGeneration"] == document["metadata"]["generation"]
    table = platform.run("get", "brokers").stdout
    assert "demo" in table
    assert "simulator" in table
    missing = platform.run("get", "broker", "nobody", check=False)
    assert (missing.returncode, missing.stderr) == (1, "aristobot: demo has no broker nobody\n")
    unknown = platform.run("get", "robots", check=False)
    assert unknown.returncode == 1
    assert "robots" in unknown.stderr


def _processes_of(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"demo.{name}" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _outcome(platform: Platform, answer: httpx.Response) -> dict[str, Any]:
    """The recorded webhook of an answer."""
    assert answer.status_code == 200, answer.text
    return eventually(
        lambda: next(
            iter(
                platform.rows(
                    "SELECT outcome, code, reason, broker FROM webhooks WHERE id = $1",
                    answer.json()["id"],
                )
            ),
            None,
        ),
        what="the webhook being recorded",
    )


def test_a_broker_lives_from_apply_to_delete(platform: Platform, tmp_path: Path) -> None:
    """Its own URL trades on its own account, its mode is obeyed, and its end is the end."""
    file = tmp_path / "short-lived.yaml"
    _apply(platform, file, broker("short-lived", mode="off", simulator={"balances": {"USDT": 777}}))
    wait_until_ready(platform, "short-lived")
    (process,) = _processes_of("short-lived")
    url = platform.webhook_url("short-lived")
    assert url != platform.webhook_url()
    ignored = _outcome(platform, post(url, alert("while off")))
    assert (ignored["outcome"], ignored["code"]) == ("ignored", "trading_mode")
    assert ignored["broker"] == "short-lived"

    changed = broker("short-lived", simulator={"balances": {"USDT": 777}})
    assert _apply(platform, file, changed) == ["broker/short-lived configured"]
    tries = iter(range(1000))
    eventually(
        lambda: (
            _outcome(platform, post(url, alert(f"webhook {next(tries)}")))["outcome"] == "ordered"
        ),
        what="the new trading mode being obeyed",
    )
    assert process.is_running(), "another mode is no reason to restart the gateway"
    (order,) = eventually(
        lambda: [
            row
            for row in platform.orders()
            if row["broker"] == "short-lived" and row["status"] == "filled"
        ],
        what="the order being filled",
    )
    assert Decimal(order["quote_quantity"]) == Decimal("7.77"), "1 % of its own 777 USDT"
    key = platform.secret("short-lived-simulator")["apiKey"]
    assert len(platform.simulator_orders(key)) == 1

    platform.run("delete", "broker", "short-lived")
    void = eventually(
        lambda: (answer := post(url, alert("too late"))).status_code == 401 and answer,
        seconds=5,
        what="the token being void",
    )
    assert void.json()["error"] == "unknown token"
    eventually(lambda: not _processes_of("short-lived"), what="its gateway being stopped")
    assert "gateway-demo.short-lived" not in platform.pids()
    assert "short-lived" not in _names(platform)
    kept = [row for row in platform.orders() if row["broker"] == "short-lived"]
    assert [row["client_order_id"] for row in kept] == [order["client_order_id"]], "history stays"


def test_a_live_broker_says_what_it_lacks(platform: Platform, tmp_path: Path) -> None:
    spec = {"environment": "live", "credentialsSecretRef": {"name": "not-there"}}
    _apply(platform, tmp_path / "live.yaml", broker("live-one", mode="off", **spec))
    found = eventually(lambda: condition(platform, "live-one"), what="the broker being looked at")
    assert (found["status"], found["reason"]) == ("False", "NotRunnable")
    assert "not-there" in found["message"]
    assert "apiKey" in found["message"]
    assert not _processes_of("live-one")
    assert "not-there" in platform.run("get", "brokers", "live-one").stdout
    platform.run("delete", "broker", "live-one")


def test_secrets_are_shown_by_name_only(platform: Platform, tmp_path: Path) -> None:
    """Neither keys that were applied, nor those made for the simulator, nor a webhook's token."""
    _apply(
        platform,
        tmp_path / "secret.yaml",
        _secret("hidden", apiKey=API_KEY, apiSecret=API_SECRET)
        + "---\n"
        + broker("hidden", mode="off", credentialsSecretRef={"name": "hidden"}),
    )
    wait_until_ready(platform, "hidden")
    values = {API_KEY, API_SECRET}
    for name in ("hidden", "demo-simulator", "demo-webhook", "hidden-webhook", "webhook"):
        found = platform.secret(name)
        assert found, name
        values |= set(found.values())
    shown = {
        "get table": platform.run("get", "secrets").stdout,
        "get yaml": platform.run("get", "secrets", "-o", "yaml").stdout,
        "get json": platform.run("get", "secret", "hidden", "-o", "json").stdout,
        "get brokers": platform.run("get", "brokers", "-o", "yaml").stdout,
        "status": platform.run("status", "--json").stdout,
        "doctor": platform.run("doctor", "--json", check=False).stdout,
    }
    assert json.loads(shown["get json"])["keys"] == ["apiKey", "apiSecret"]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            shown[f"argv of {process.pid}"] = " ".join(process.cmdline())
    for file in (platform.data / "logs").iterdir():
        shown[file.name] = file.read_text(errors="replace")
    for table in ("resources", "journal", "orders", "spans", "secrets", "outbox"):
        shown[table] = str(platform.rows(f"SELECT t::text AS row FROM {table} t"))
    for place, text in shown.items():
        for value in values:
            assert value not in text, f"a secret's value stands in {place}"
    for path in platform.data.rglob("*"):
        # Servers' own files come and go.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mode & 0o077:
                content = path.read_bytes()
                assert not any(value.encode() in content for value in values), path
    platform.run("delete", "broker", "hidden")
    platform.run("delete", "secret", "hidden")
    eventually(lambda: not _processes_of("hidden"), what="its gateway being stopped")


def test_a_new_platform_time_is_utc(platform: Platform) -> None:
    """Times in what is printed carry their zone."""
    document = platform.json("get", "broker", "demo", "-o", "json")
    for text in (
        document["metadata"]["creationTimestamp"],
        document["status"]["conditions"][0]["lastTransitionTime"],
    ):
        assert datetime.fromisoformat(text).utcoffset() == datetime.now(UTC).utcoffset()
