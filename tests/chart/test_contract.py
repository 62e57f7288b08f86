"""What chart, operator, pods and command line have to agree on, compared on both sides."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from pydantic.alias_generators import to_camel
from typer.testing import CliRunner

from aristobot.cli.app import app
from aristobot.contracts import kubernetes as names
from aristobot.contracts import nats_roles
from aristobot.contracts.markets import market_id, parse_market
from aristobot.contracts.resources import Environment, Exchange
from aristobot.ingress.sources import parse_networks
from aristobot.platform.settings import ServiceSettings
from aristobot_operator.settings import CONFIG_VARIABLE, read_settings
from tests.chart.rendering import CHART, NAMESPACE, VALUE_SETS, Object, find, pod, pods, render
from tests.harness.pod_security import containers_of

every_set = pytest.mark.parametrize("name", VALUE_SETS)
FIXED_ROLES = ("ingress", "engine", "heartbeat", "api")
#: What Kubernetes and the operator's Secrets put in; here so that settings can be read.
GIVEN = {"ARISTOBOT_INSTANCE": "pod-0", "ARISTOBOT_DATABASE_URL": "postgresql://u:p@h:5432/d"}


def _environment(container: Object) -> dict[str, str]:
    variables = [variable["name"] for variable in container["env"]]
    assert len(variables) == len(set(variables))
    return {v["name"]: v.get("value", GIVEN.get(v["name"], "")) for v in container["env"]}


def _commands() -> list[str]:
    found = set()
    for name in VALUE_SETS:
        for each in pods(render(name)):
            for container in containers_of(each.spec):
                if "command" in container:
                    assert container["command"] == ["python", "-c"]
                else:
                    found.add(shlex.join(container["args"]))
    return sorted(found)


@pytest.mark.parametrize("arguments", _commands())
def test_every_pod_runs_a_command_that_there_is_with_options_that_it_has(arguments: str) -> None:
    result = CliRunner().invoke(app, [*shlex.split(arguments), "--help"])
    assert result.exit_code == 0, result.output


@every_set
def test_every_service_can_read_its_settings(name: str) -> None:
    for component in ("engine", "api", "ingress", "heartbeat", "operator"):
        for each in (p for p in pods(render(name)) if p.component == component):
            (container,) = each.spec["containers"]
            environment = _environment(container)
            if component != "operator":
                settings = ServiceSettings.read(environment)
                assert settings.instance == "pod-0"
                mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
                assert mounts[names.CREDENTIALS_MOUNT] == "nats"
                assert settings.nats_credentials == (
                    f"{names.CREDENTIALS_MOUNT}/{names.CREDENTIALS_KEY}"
                )
            if component in {"engine", "heartbeat", "operator"}:
                assert environment["ARISTOBOT_ADMIN_PORT"] == str(names.ADMIN_PORT)
                assert environment["ARISTOBOT_ADMIN_HOST"] == "0.0.0.0"
            assert ("ARISTOBOT_DATABASE_URL" in environment) == (
                component in {"engine", "api", "heartbeat"}
            )


def test_secrets_have_the_names_that_the_operator_gives_them() -> None:
    for component in FIXED_ROLES:
        assert getattr(nats_roles, component)().name == component
        (volume,) = (v for v in pod("first-look", component).spec["volumes"] if v["name"] == "nats")
        assert volume["secret"]["secretName"] == names.role_secret("aristobot", component)

    nats = pod("first-look", "nats").spec
    assert _secret(nats, "/etc/aristobot/nats-server") == names.nats_server_secret("aristobot")
    postgres = pod("first-look", "postgres").spec
    assert _secret(postgres, names.PASSWORDS_MOUNT) == names.postgres_secret("aristobot")

    (container,) = pod("first-look", "engine").spec["containers"]
    (url,) = (v for v in container["env"] if v["name"] == "ARISTOBOT_DATABASE_URL")
    assert url["valueFrom"]["secretKeyRef"] == {
        "name": names.postgres_secret("aristobot"),
        "key": names.DATABASE_URL_KEY,
    }


def _secret(spec: Object, mount: str) -> str:
    (container,) = spec["containers"]
    (volume,) = (m["name"] for m in container["volumeMounts"] if m["mountPath"] == mount)
    (found,) = (v["secret"]["secretName"] for v in spec["volumes"] if v["name"] == volume)
    return str(found)


def test_ports_are_the_contract_s() -> None:
    expected = {
        "ingress": {"http": names.INGRESS_PORT},
        "api": {"http": names.API_PORT, "otlp": 4318},
        "simulator": {"exchange": names.SIMULATOR_PORT},
        "nats": {"nats": names.NATS_PORT, "monitor": names.NATS_MONITOR_PORT},
        "postgres": {"postgres": names.POSTGRES_PORT},
        "engine": {"admin": names.ADMIN_PORT},
        "heartbeat": {"admin": names.ADMIN_PORT},
        "operator": {"admin": names.ADMIN_PORT},
    }
    for component, ports in expected.items():
        (container,) = pod("first-look", component).spec["containers"]
        assert {p["name"]: p["containerPort"] for p in container["ports"]} == ports


def test_labels_are_the_contract_s() -> None:
    assert pod("first-look", "engine").labels == {
        names.NAME_LABEL: names.APP,
        names.INSTANCE_LABEL: "aristobot",
        names.COMPONENT_LABEL: "engine",
    }


@every_set
def test_every_market_has_heartbeats_that_know_their_names(name: str) -> None:
    beats = [item for item in render(name) if "-heartbeat-" in item["metadata"]["name"]]
    sets = [item for item in beats if item["kind"] == "StatefulSet"]
    markets = VALUE_SETS[name].get("heartbeat", {}).get("markets")
    if markets is None:
        markets = ["binance-simulator" if _simulates(name) else "binance"]
    assert [s["metadata"]["name"].partition("-heartbeat-")[2] for s in sets] == markets
    for beat, market in zip(sets, markets, strict=True):
        _, environment = parse_market(market)
        (container,) = beat["spec"]["template"]["spec"]["containers"]
        assert container["args"] == [
            *("heartbeat", "--market", market, "--replica", "$(ARISTOBOT_INSTANCE)")
        ]
        url = _environment(container).get("ARISTOBOT_MARKET_URL")
        if environment.value == "simulator":
            assert url is not None
            assert url.startswith("ws://")
            assert url.endswith(f"-simulator.{NAMESPACE}.svc:{names.SIMULATOR_PORT}")
        else:
            assert url is None


def _simulates(name: str) -> bool:
    return any(p.component == "simulator" for p in pods(render(name)))


@every_set
def test_the_ingress_can_read_whom_it_lets_in(name: str) -> None:
    (container,) = pod(name, "ingress").spec["containers"]
    environment = _environment(container)
    parse_networks(environment["ARISTOBOT_ALLOW"])
    assert parse_networks(environment["ARISTOBOT_TRUSTED_PROXIES"])


def test_only_webhooks_are_let_in() -> None:
    for name, kind in (("first-look", "Ingress"), ("cloudnativepg", "HTTPRoute")):
        spec = find(render(name), kind, "aristobot-ingress")["spec"]
        (rule,) = spec["rules"]
        if kind == "Ingress":
            (path,) = rule["http"]["paths"]
            assert (path["path"], path["pathType"]) == ("/webhook", "Prefix")
            assert "ingressClassName" not in spec
        else:
            (match,) = rule["matches"]
            assert match["path"] == {"type": "PathPrefix", "value": "/webhook"}
            (backend,) = rule["backendRefs"]
            assert backend["port"] == names.INGRESS_PORT


def test_the_values_schema_knows_every_market_that_the_product_knows() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    markets = schema["properties"]["heartbeat"]["properties"]["markets"]["items"]["enum"]
    assert sorted(markets) == sorted(market_id(x, e) for x in Exchange for e in Environment)
    with pytest.raises(ValueError, match="kraken"):
        parse_market("kraken")


def _settings_text(name: str) -> str:
    (item,) = (o for o in render(name) if o["kind"] == "ConfigMap")
    return str(item["data"]["operator.yaml"])


@every_set
def test_the_operator_can_read_its_settings(name: str, tmp_path: Path) -> None:
    file = tmp_path / "operator.yaml"
    file.write_text(_settings_text(name), encoding="utf-8")
    settings = read_settings(file)
    assert settings.owners == VALUE_SETS[name].get("owners", [NAMESPACE])
    assert settings.nats_replicas == (3 if name == "production" else 1)
    # Nothing that it could be told is left to a default of its own.
    assert set(yaml.safe_load(_settings_text(name))) == {
        to_camel(field) for field in type(settings).model_fields
    }
    (container,) = pod(name, "operator").spec["containers"]
    path = _environment(container)[CONFIG_VARIABLE]
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "config")
    assert path == f"{mount['mountPath']}/operator.yaml"


def test_the_operator_is_told_where_everything_is() -> None:
    settings = yaml.safe_load(_settings_text("first-look"))
    assert settings["natsUrl"] == f"nats://aristobot-nats.{NAMESPACE}.svc:{names.NATS_PORT}"
    assert settings["otlpEndpoint"] == f"http://aristobot-api.{NAMESPACE}.svc:4318"
    assert settings["simulatorUrl"] == (
        f"http://aristobot-simulator.{NAMESPACE}.svc:{names.SIMULATOR_PORT}"
    )
    assert settings["embeddedPostgres"] == {"host": f"aristobot-postgres.{NAMESPACE}.svc"}
    assert settings["gateway"]["priorityClassName"] == "aristobot-money"
    assert settings["runner"]["priorityClassName"] is None

    production = yaml.safe_load(_settings_text("production"))
    assert production["embeddedPostgres"] is None
    assert production["simulatorUrl"] is None
    assert production["databaseSecret"] == {"name": "aristobot-database", "key": "database-url"}
    assert production["image"] == "registry.example.com/aristobot@sha256:" + 64 * "0"

    cnpg = yaml.safe_load(_settings_text("cloudnativepg"))
    assert cnpg["databaseSecret"] == {"name": "aristobot-db-app", "key": "uri"}


def test_hosts_in_urls_are_services_that_there_are() -> None:
    services = {o["metadata"]["name"] for o in render("first-look") if o["kind"] == "Service"}
    settings = yaml.safe_load(_settings_text("first-look"))
    urls = (settings["natsUrl"], settings["otlpEndpoint"], settings["simulatorUrl"])
    hosts = [url.split("//")[1].split(":")[0] for url in urls]
    hosts.append(settings["embeddedPostgres"]["host"])
    for host in hosts:
        service, namespace, _ = host.split(".")
        assert service in services
        assert namespace == NAMESPACE
