"""`aristobot --kube`: the command line on custom resources, beside whoever else changes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from aristobot.cli.app import app
from aristobot.core.errors import Misconfigured, Retryable
from tests.support.kube_api import KubeApi, definitions

CRDS = definitions()
FILES = Path(__file__).parents[3] / "docs" / "examples"
ACTIVE = {
    "strategyRef": {"name": "ema"},
    "brokerRef": {"name": "main"},
    "symbol": "BTCUSDT",
}


@pytest.fixture
async def api() -> AsyncIterator[KubeApi]:
    async with KubeApi(namespaces=("default", "alice"), crds=CRDS) as api:
        yield api


class Command:
    """Runs `aristobot` in a thread, since the double answers from the test's own event loop."""

    def __init__(self, environment: dict[str, str | None]) -> None:
        self._environment = environment

    async def __call__(self, line: str, answer: str = "") -> str:
        """What it printed. Raises what would be told to the user."""
        runner = CliRunner(env=self._environment)
        result = await asyncio.to_thread(runner.invoke, app, line.split(), input=answer)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def command(api: KubeApi, tmp_path: Path) -> Command:
    kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
    return Command(
        {
            "KUBECONFIG": str(kubeconfig),
            "ARISTOBOT_DATA": str(tmp_path / "nothing-here"),
            "ARISTOBOT_OWNER": None,
            "ARISTOBOT_PLATFORM": None,
        }
    )


def active(api: KubeApi, namespace: str = "default", **spec: Any) -> None:
    api.put(
        {
            "apiVersion": "trading.aristobot.io/v1alpha1",
            "kind": "ActiveStrategy",
            "metadata": {"name": "one", "namespace": namespace},
            "spec": {**ACTIVE, **spec},
        }
    )


def spec(api: KubeApi, namespace: str = "default") -> dict[str, Any]:
    return api.get("ActiveStrategy", namespace, "one")["spec"]


async def test_the_examples_are_applied_shown_and_deleted(command: Command, api: KubeApi) -> None:
    file = FILES / "ema-crossover.yaml"
    names = [(d["kind"], d["metadata"]["name"]) for d in yaml.safe_load_all(file.read_text()) if d]
    printed = await command(f"--kube apply -f {file}")
    assert printed.split() == [w for k, n in names for w in (f"{k.lower()}/{n}", "created")]
    for kind, name in names:
        assert api.find(kind, "default", name)
        assert name in await command(f"--kube get {kind}")
    for kind, name in names:
        printed = await command(f"--kube delete {kind} {name}")
        assert printed == f"{kind.lower()}/{name} deleted\n"
        assert not api.find(kind, "default", name)


async def test_a_strategy_with_mistakes_is_not_applied(
    command: Command, api: KubeApi, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.yaml"
    document = {
        "apiVersion": "trading.aristobot.io/v1alpha1",
        "kind": "Strategy",
        "metadata": {"name": "wrong"},
        "spec": {"code": "import socket\n"},
    }
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(Misconfigured, match="Strategy"):
        await command(f"--kube apply -f {file}")
    assert not api.list("Strategy")


async def test_the_tables_show_what_the_operator_observed(command: Command, api: KubeApi) -> None:
    active(api)
    ready = {"type": "Ready", "status": "True", "reason": "Running", "message": "it runs"}
    api.set_status(
        "ActiveStrategy",
        "default",
        "one",
        {
            "conditions": [{**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "position": "0.5 BTC",
            "timeframe": "5m",
        },
    )
    shown = await command("--kube get astrat")
    for expected in ("POSITION", "0.5 BTC", "5m", "True", "it runs"):
        assert expected in shown


async def test_what_get_prints_can_be_applied_again(
    command: Command, api: KubeApi, tmp_path: Path
) -> None:
    active(api, end="2036-01-01T00:00:00Z", paused=True)
    api.set_status("ActiveStrategy", "default", "one", {"phase": "Suspended"})
    file = tmp_path / "again.yaml"
    file.write_text(await command("--kube get astrat one -o yaml"))
    assert await command(f"--kube apply -f {file}") == "activestrategy/one unchanged\n"


async def test_secrets_show_no_values(command: Command, api: KubeApi) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "stringData": {"apiKey": "hush-hush"}}
    api.put({**made, "metadata": {"name": "keys", "namespace": "default"}})
    for form in ("table", "yaml", "json"):
        shown = await command(f"--kube get secrets -o {form}")
        assert "apiKey" in shown
        assert "hush" not in shown
        assert "aHVzaC1odXNo" not in shown


@pytest.mark.parametrize(
    ("words", "owner"),
    [("", None), ("-n alice", None), ("--namespace alice", None), ("", "alice")],
    ids=["context", "option", "long-option", "variable"],
)
async def test_whose_resources_are_meant(
    api: KubeApi, tmp_path: Path, words: str, owner: str | None
) -> None:
    config = api.config
    config["contexts"][0]["context"]["namespace"] = "default"
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump(config))
    command = Command(
        {"KUBECONFIG": str(kubeconfig), "ARISTOBOT_PLATFORM": "kubernetes"}
        | {"ARISTOBOT_OWNER": owner}
    )
    meant = "alice" if words or owner else "default"
    active(api, meant)
    await command(f"strategy suspend one {words}")
    assert spec(api, meant)["paused"]


# stop, suspend, resume


async def test_stop_suspend_and_resume_change_their_fields_alone(
    command: Command, api: KubeApi
) -> None:
    active(api, timeframe="1m", historyCandles=50)
    assert await command("--kube strategy suspend one") == "one is suspended\n"
    assert await command("--kube strategy suspend one") == "one is suspended already\n"
    assert spec(api)["paused"]
    assert await command("--kube strategy resume one") == "one is resumed\n"
    assert await command("--kube strategy resume one") == "one is not suspended\n"
    assert await command("--kube strategy stop one") == "one is stopped\n"
    found = spec(api)
    assert (found["active"], found["paused"], found["historyCandles"]) == (False, False, 50)
    assert found["end"].endswith("Z")
    with pytest.raises(Misconfigured, match="one is stopped, not suspended"):
        await command("--kube strategy resume one")
    with pytest.raises(Misconfigured, match="default has no active strategy two"):
        await command("--kube strategy stop two")


async def test_what_a_strategy_holds_is_told_where_the_cluster_knows_it(
    command: Command, api: KubeApi
) -> None:
    active(api)
    api.set_status("ActiveStrategy", "default", "one", {"position": "0.5 BTC"})
    assert await command("--kube strategy suspend one") == "one is suspended; it holds 0.5 BTC\n"
    told = await command("--kube strategy stop one", answer="n\n")
    assert "one holds 0.5 BTC" in told
    assert told.endswith("nothing was changed\n")
    assert spec(api)["active"]
    await command("--kube strategy stop one --yes")
    assert not spec(api)["active"]


def between(monkeypatch: pytest.MonkeyPatch, times: int, change: Callable[[], None]) -> None:
    """Let `change` happen after each of the next reads of a strategy, as if somebody was faster."""
    from aristobot.cli import strategies

    real, left = strategies._find, iter(range(times))

    async def find(*args: Any) -> Any:
        found = await real(*args)
        if next(left, None) is not None:
            change()
        return found

    monkeypatch.setattr(strategies, "_find", find)


async def test_a_change_by_another_is_kept_and_ours_made_on_top_of_it(
    command: Command, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(api, timeframe="1m")
    between(monkeypatch, 1, lambda: active(api, timeframe="5m"))
    assert await command("--kube strategy suspend one") == "one is suspended\n"
    assert (spec(api)["timeframe"], spec(api)["paused"]) == ("5m", True)


async def test_two_changes_by_others_end_in_a_sentence(
    command: Command, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(api, historyCandles=1)
    others = iter((2, 3))
    between(monkeypatch, 2, lambda: active(api, historyCandles=next(others)))
    with pytest.raises(Retryable, match="ActiveStrategy one was changed by somebody else"):
        await command("--kube strategy suspend one")
    assert (spec(api)["historyCandles"], spec(api)["paused"]) == (3, False)


# What can't be done from here


async def test_a_deletion_that_takes_time_is_not_called_done(
    command: Command, api: KubeApi
) -> None:
    active(api)
    finalizers = {"finalizers": ["trading.aristobot.io/wind-down"]}
    api.patch("ActiveStrategy", "default", "one", {"metadata": finalizers})
    assert "is being deleted" in await command("--kube delete astrat one")
    assert api.find("ActiveStrategy", "default", "one")


@pytest.mark.parametrize(
    "line", ["order list --limit 3", "trace show abc", "strategy sell one", "webhook list"]
)
async def test_what_needs_the_database_names_the_pod_to_run_it_in(
    command: Command, line: str
) -> None:
    with pytest.raises(Misconfigured, match=r"-n NAMESPACE exec deploy/aristobot-api") as told:
        await command(f"{line} --kube")
    assert f"-- aristobot {line}`" in str(told.value)


async def test_a_webhook_s_address_names_the_secret_with_its_token(command: Command) -> None:
    for line in ("webhook url main -n alice", "webhook send --action PING --broker main -n alice"):
        with pytest.raises(Misconfigured, match="kubectl -n alice get secret main-webhook -o json"):
            await command(f"{line} --kube")


@pytest.mark.parametrize("line", ["up", "down", "status"])
async def test_what_is_about_this_machine_does_not_mean_a_cluster(
    command: Command, line: str
) -> None:
    with pytest.raises(Misconfigured, match="is about the platform on this machine"):
        await command(f"--kube {line}")


async def test_without_a_platform_here_the_option_is_named(command: Command) -> None:
    with pytest.raises(Misconfigured, match=r"no platform runs on .*; .* add --kube$"):
        await command("get brokers")


async def test_an_unknown_platform_is_named(command: Command) -> None:
    command._environment["ARISTOBOT_PLATFORM"] = "nomad"
    with pytest.raises(Misconfigured, match="'nomad'; it has to be embedded or kubernetes"):
        await command("get brokers")


async def test_a_context_means_the_cluster(command: Command, api: KubeApi) -> None:
    active(api)
    assert "one" in await command("get astrat --context aristobot-double")
    with pytest.raises(Misconfigured, match="no context 'prod'; known are aristobot-double"):
        await command("get astrat --context prod")
