"""Which cluster is meant: the rules of kubectl for files, contexts, namespaces, a pod's account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aristobot.core.errors import Misconfigured
from aristobot.platform.kubeconfig import is_configured, merged, read_access


def content(name: str, *, namespace: str | None = None, **cluster: Any) -> dict[str, Any]:
    """A kubeconfig with one context, whose cluster and user have the same name."""
    context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
    return {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443", **cluster}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
        "contexts": [{"name": name, "context": context}],
    }


def write(path: Path, *contents: dict[str, Any]) -> dict[str, str]:
    """An environment whose KUBECONFIG names a file for each content."""
    files = []
    for number, each in enumerate(contents):
        file = path / f"config-{number}"
        file.write_text(yaml.safe_dump(each))
        files.append(str(file))
    return {"KUBECONFIG": ":".join(files)}


def test_the_current_context_and_its_namespace_are_meant(tmp_path: Path) -> None:
    access = read_access(None, write(tmp_path, content("prod", namespace="trading")))
    assert (access.context, access.namespace) == ("prod", "trading")
    assert access.server == "https://prod:6443"
    assert access.config.user is not None
    assert access.config.user.token == "token-of-prod"


def test_a_context_without_a_namespace_means_default_and_one_without_a_user_works(
    tmp_path: Path,
) -> None:
    bare = content("dev")
    del bare["contexts"][0]["context"]["user"]
    access = read_access(None, write(tmp_path, bare))
    assert access.namespace == "default"
    assert access.config.user is not None


def test_of_several_files_the_first_to_name_a_thing_counts(tmp_path: Path) -> None:
    first, second = content("a", namespace="one"), content("b", namespace="two")
    second["contexts"].append({"name": "a", "context": {"cluster": "b", "namespace": "other"}})
    environment = write(tmp_path, first, second)
    environment["KUBECONFIG"] = f"{tmp_path}/missing:{environment['KUBECONFIG']}"
    assert read_access(None, environment).namespace == "one"
    assert read_access("a", environment).server == "https://a:6443"
    assert read_access("b", environment).namespace == "two"


def test_the_first_current_context_counts_and_an_empty_file_is_none(tmp_path: Path) -> None:
    first = content("a") | {"current-context": ""}
    assert read_access(None, write(tmp_path, {}, first, content("b"))).context == "b"


def test_relative_paths_lie_beside_their_file() -> None:
    config = content("a", **{"certificate-authority": "ca.crt"})
    config["users"][0]["user"] = {
        "client-certificate": "me.crt",
        "client-key": "/keys/me.key",
        "tokenFile": "sub/token",
        "exec": {"apiVersion": "v1", "command": "./login"},
    }
    found = merged([(Path("/home/me/.kube/config"), config)])
    assert found["clusters"]["a"]["certificate-authority"] == "/home/me/.kube/ca.crt"
    user = found["users"]["a"]
    assert user["client-certificate"] == "/home/me/.kube/me.crt"
    assert user["client-key"] == "/keys/me.key"
    assert user["tokenFile"] == "/home/me/.kube/sub/token"
    assert user["exec"]["command"] == "/home/me/.kube/login"
    config["users"][0]["user"]["exec"]["command"] = "aws"
    assert merged([(Path("/x/config"), config)])["users"]["a"]["exec"]["command"] == "aws"


def test_the_home_s_file_counts_without_the_variable(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert not is_configured(environment)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(content("home")))
    assert is_configured(environment)
    assert read_access(None, environment).context == "home"


def test_a_pod_s_own_account_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("abc")
    (account / "namespace").write_text("mine")
    in_pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    for name, value in in_pod.items():
        monkeypatch.setenv(name, value)  # lightkube reads these itself
    access = read_access(None, {**in_pod, "HOME": str(tmp_path)}, account)
    assert (access.namespace, access.server) == ("mine", "https://10.0.0.1:443")
    environment = write(tmp_path, content("file"))
    assert read_access(None, {**in_pod, **environment}, account).context == "file"


def _with_user(**user: Any) -> dict[str, Any]:
    config = content("a")
    config["users"][0]["user"] = user
    return config


@pytest.mark.parametrize(
    ("config", "context", "expected"),
    [
        (content("a"), "b", "there is no context 'b'; known are a"),
        (content("a") | {"current-context": None}, None, r"add --context NAME \(known are a\)"),
        (content("a") | {"clusters": []}, None, "context a: there is no cluster 'a'"),
        (content("a") | {"users": []}, None, "context a: there is no user 'a'"),
        (content("a", **{"tls-server-name": "x"}), None, "`tls-server-name` is not supported"),
        (_with_user(**{"as": "admin"}), None, "`as` is not supported"),
        (_with_user(token=7), None, "context a of the kubeconfig: "),
        ({"contexts": [{"context": {}}]}, None, "contexts need names"),
    ],
    ids=["context", "current", "cluster", "user", "server-name", "as", "type", "nameless"],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, config: dict[str, Any], context: str | None, expected: str
) -> None:
    with pytest.raises(Misconfigured, match=expected):
        read_access(context, write(tmp_path, config))


@pytest.mark.parametrize("text", ["{", "- a", "\x00", "just text"])
def test_what_is_no_kubeconfig_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=r"config is not a kubeconfig"):
        read_access(None, {"KUBECONFIG": str(file)})


def test_no_kubeconfig_at_all_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"looked for .*\.kube/config.*set KUBECONFIG"):
        read_access(None, {"HOME": str(tmp_path)}, tmp_path)
